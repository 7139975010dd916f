"""What a release is made of: wheel, sdist and their metadata, the image's constraints, clean temporary folders."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email import message_from_bytes
from email.message import Message
from importlib.metadata import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import beam_mixpanel
from beam_mixpanel.core.events.dead_letter import DeadLetter, to_json_line

ROOT = Path(__file__).parent.parent
_WITHOUT_SOURCES = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
_PERMISSIVE = re.compile(r"\b(0BSD|Apache|BSD|CC0|CNRI|ISC|MIT|PSF|Python Software Foundation|Zlib)\b", re.IGNORECASE)
_USED_UNCHANGED = {"certifi", "orjson"}
"""Under the Mozilla Public License, which asks for the source of changed files; we change none."""


_PIN = re.compile(r"(?P<name>[a-z0-9.-]+)(?:\[[a-z0-9,-]+])?==(?P<version>[\w.+!]+)(?: ; (?P<marker>.+))?")


def _pins(file: str = "templates/constraints.txt", **environment: str) -> dict[str, str]:
    """Give the versions that the image of the templates installs, or those of a machine with such markers."""
    pins = {}
    for line in (ROOT / file).read_text().splitlines():
        if not line.startswith("#"):
            pin = _PIN.fullmatch(line)
            assert pin, f"{file} holds no pin, but {line!r}"
            if pin["marker"] is None or Marker(pin["marker"]).evaluate(dict(environment)):
                pins[canonicalize_name(pin["name"])] = pin["version"]
    return pins


@pytest.mark.parametrize("python", ["3.11.7", "3.12.1", "3.13.0"])
@pytest.mark.parametrize(("system", "platform"), [("Linux", "linux"), ("Darwin", "darwin")])
def test_the_set_up_has_versions_for_each_python_and_system(python: str, system: str, platform: str) -> None:
    """`make setup` finds a version within our bounds for all that it installs, whatever the machine."""
    minor = python.rpartition(".")[0]
    machine = {"python_full_version": python, "python_version": minor}
    pins = _pins("constraints.txt", sys_platform=platform, platform_system=system, **machine)
    for text in metadata("beam-mixpanel").get_all("Requires-Dist") or []:
        need = Requirement(text)
        marker = str(need.marker or "")
        if need.name != "beam-mixpanel" and "sys_platform" not in marker:
            assert pins.get(canonicalize_name(need.name), "0") in need.specifier, text


def test_the_image_installs_what_the_tests_ran_with() -> None:
    """Each version in the image is the one that `make setup` installs with its Python, on its system."""
    all_pins = _pins("constraints.txt", python_full_version="3.11.7", python_version="3.11", sys_platform="linux")
    assert _pins().items() - all_pins.items() == set()


def test_constraints_of_the_image_are_within_our_bounds() -> None:
    """Every dependency that the image installs is pinned, to a version that our metadata allow."""
    pins = _pins()
    wrong = []
    for text in metadata("beam-mixpanel").get_all("Requires-Dist") or []:
        need = Requirement(text)
        wanted = need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("gcp", "sql"))
        pin = pins.get(canonicalize_name(need.name))
        if wanted and (pin is None or pin not in need.specifier):
            wrong.append(f"{text}: {pin}")
    assert wrong == []


def _import_an_event(python: str | Path, folder: Path, **variables: str) -> None:
    """Run an import of one event into an emulator, in a folder, where the package is whatever that Python finds."""
    (folder / "events.ndjson").write_text('{"event": "A", "time": "2026-01-02T03:04:05Z", "distinct_id": "u"}\n')
    done = subprocess.run(
        [python, "-m", "beam_mixpanel.pipelines.files_to_mixpanel", "--input=events.ndjson", "--mixpanel_emulator"],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        env=_WITHOUT_SOURCES | variables,
    )
    assert done.returncode == 0, done.stderr
    assert "shows 1 events, each once" in done.stderr


def test_a_run_leaves_nothing_in_the_temporary_folder(tmp_path: Path) -> None:
    """A finished import has cleared whatever it made in TMPDIR."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    _import_an_event(sys.executable, tmp_path, TMPDIR=str(scratch), PYTHONPATH=str(ROOT))
    assert list(scratch.iterdir()) == []


def _license(package: str) -> str:
    """Give the terms that a package states, in the first of the three places that has any."""
    stated = metadata(package)
    classifiers = [line.rpartition(" :: ")[2] for line in stated.get_all("Classifier") or [] if "License ::" in line]
    return stated.get("License-Expression") or " OR ".join(classifiers) or (stated.get("License") or "").splitlines()[0]


def test_packages_of_the_image_have_permissive_licenses() -> None:
    """Each may be handed on in an image without terms for our users' code."""
    licenses = {package: _license(package) for package in _pins()}
    wrong = {package: terms for package, terms in licenses.items() if not _PERMISSIVE.search(terms)}
    assert set(wrong) <= _USED_UNCHANGED, wrong
    assert not [terms for terms in licenses.values() if re.search(r"\b[AL]?GPL", terms)]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheel and sdist; the wheel is made of the sdist."""
    folder = tmp_path_factory.mktemp("release")
    command = [sys.executable, "-m", "build", "--no-isolation", f"--outdir={folder}", str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_a_package_index_takes_the_release(release: Path) -> None:
    """Twine finds nothing to complain of, warnings included: the description renders."""
    files = sorted(str(file) for file in release.iterdir())
    assert len(files) == 2
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_metadata_say_what_a_reader_of_the_index_asks(release: Path) -> None:
    """Name, licence with its text, Pythons, extras, and the command."""
    with zipfile.ZipFile(next(release.glob("*.whl"))) as wheel:
        names = {Path(name).name: name for name in wheel.namelist() if ".dist-info/" in name}
        stated: Message = message_from_bytes(wheel.read(names["METADATA"]))
        command = wheel.read(names["entry_points.txt"]).decode()
    assert stated["License-Expression"] == "Apache-2.0"
    assert stated["License-File"] == "LICENSE"
    assert stated["Requires-Python"] == ">=3.10"
    assert set(stated.get_all("Provides-Extra") or []) == {"emulator", "gcp", "mongodb", "yaml", "sql", "docs", "dev"}
    assert "beam-mixpanel = beam_mixpanel.cli.__main__:main" in command


def test_the_sdist_holds_what_the_wheel_is_made_of(release: Path) -> None:
    """Every module of the wheel is in the sdist, byte for byte."""
    with tarfile.open(next(release.glob("*.tar.gz"))) as sdist, zipfile.ZipFile(next(release.glob("*.whl"))) as wheel:
        files = {member.name.partition("/")[2]: member for member in sdist.getmembers() if member.isfile()}
        modules = [name for name in wheel.namelist() if ".dist-info/" not in name]
        assert len(modules) > 100
        for name in modules:
            assert sdist.extractfile(files[name]).read() == wheel.read(name)  # type: ignore[union-attr]


def test_version_is_said_once() -> None:
    """The version comes from one file."""
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()
    assert re.fullmatch(r"\d+\.\d+\.\d+", beam_mixpanel.__version__)


def test_wheel_holds_the_package_and_nothing_else(release: Path) -> None:
    """Code, type marker, page and licence are in the wheel; tests, benchmarks and fuzz are not."""
    names = zipfile.ZipFile(next(release.glob("*.whl"))).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {"beam_mixpanel"} == {top for top in tops if not top.endswith(".dist-info")}
    pages = {"beam_mixpanel/emulator/page.html", "beam_mixpanel/launcher/reports/page.css"}
    assert {"beam_mixpanel/py.typed"} | pages <= set(names)
    assert any(name.endswith("LICENSE") for name in names)


def _pip(python: Path, *words: str) -> None:
    """Run pip for another environment, which needs none of its own."""
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *words], check=True, capture_output=True)


def _installed(release: Path, environment: Path) -> Path:
    """Install the wheel in a new environment, with the dependencies of this one, and return its Python."""
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    site = Path(_printed(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    _pip(python, "install", "--no-deps", str(next(release.glob("*.whl"))))
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


@pytest.fixture(scope="module")
def command(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of the wheel, installed in an environment of its own, away from the sources."""
    python = _installed(release, tmp_path_factory.mktemp("environment"))
    return python.with_name("beam-mixpanel")


def test_packages_of_a_user_outlive_ours(release: Path, tmp_path: Path) -> None:
    """A package `pipelines` that is installed, too, is neither overwritten nor removed with ours."""
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    site = Path(_printed(environment / "bin" / "python", "import sysconfig; print(sysconfig.get_path('purelib'))"))
    for name in ("pipelines", "templates", "tests"):
        (site / name).mkdir()
        (site / name / "__init__.py").write_text("MINE = True\n")
    python = _installed(release, environment)
    for name in ("pipelines", "templates", "tests"):
        assert _printed(python, f"import {name}; print({name}.MINE)", folder=tmp_path) == "True"
    _pip(python, "uninstall", "--yes", "beam-mixpanel")
    assert not python.with_name("beam-mixpanel").exists()
    assert not (site / "beam_mixpanel").exists()
    for name in ("pipelines", "templates", "tests"):
        assert _printed(python, f"import {name}; print({name}.MINE)", folder=tmp_path) == "True"


def test_installed_wheel_imports_events(command: Path, tmp_path: Path) -> None:
    """Installed in an environment of its own, away from the sources, the wheel does the job."""
    python = command.parent / "python"
    assert str(command.parents[1]) in _printed(
        python, "import beam_mixpanel; print(beam_mixpanel.__file__)", folder=tmp_path
    )
    _import_an_event(python, tmp_path)


def test_the_file_that_a_template_starts_needs_the_wheel_alone(command: Path, tmp_path: Path) -> None:
    """Google's launcher runs one of our files by its path; no top-level `pipelines` can be imported there."""
    (tmp_path / "files_to_mixpanel.py").write_text((ROOT / "pipelines" / "files_to_mixpanel.py").read_text())
    (tmp_path / "events.ndjson").write_text('{"event": "A", "time": 1790000000, "distinct_id": "u"}\n')
    started = [command.with_name("python"), "files_to_mixpanel.py", "--input=events.ndjson", "--mixpanel_emulator"]
    done = subprocess.run(started, capture_output=True, text=True, cwd=tmp_path, env=_WITHOUT_SOURCES, check=False)
    assert done.returncode == 0, done.stderr
    assert "shows 1 events, each once" in done.stderr


MINE = """
def to_event(row):
    return {"event": "Mine", "properties": {"time": row["at"], "distinct_id": row["who"]}}

def repair(event):
    return {**event, "time": 1790000000}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own folder, with packages of the names that a repository such as ours has."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("pipelines", "templates", "tests", "benchmarks"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("MINE = True\n")
        (folder / name / "jobs.py").write_text(MINE)
    (folder / "beam_mixpanel_jobs.py").write_text(MINE)
    (folder / "rows.csv").write_text("at,who\n1790000000,u1\n1790000001,u2\n")
    (folder / "events.ndjson").write_text('{"event": "A", "time": 1790000000, "distinct_id": "u"}\n')
    bad = b'{"event": "A", "distinct_id": "u"}'
    (folder / "bad.ndjson").write_bytes(bad)
    (folder / "dead-1.jsonl").write_bytes(to_json_line(DeadLetter(bad, "validate", "time_missing")))
    with sqlite3.connect(folder / "shop.db") as database:
        database.execute("create table orders (id integer primary key, at text, who text)")
        database.execute("insert into orders values (1, '2026-01-02T03:04:05Z', 'u')")
    return folder


def _type(command: Path, folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    words = [str(command), *shlex.split(line)]
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, env=_WITHOUT_SOURCES, check=False)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("import files --input events.ndjson --mixpanel_emulator", 0, "shows 1 events, each once"),
        ("import files --input events.ndjson --mixpanel-emulator", 0, "shows 1 events, each once"),
        ("import files --input rows.csv --map pipelines.jobs:to_event --mixpanel_emulator", 0, "shows 2 events"),
        ("import files --input rows.csv --map beam_mixpanel_jobs:to_event --mixpanel_emulator", 0, "shows 2 events"),
        (
            "import files --input rows.csv --map pipelines.jobs:to_event --mixpanel_emulator --direct_num_workers 2 "
            "--direct_running_mode multi_processing",
            0,
            "shows 2 events",
        ),
        (
            "import sql --connection sqlite:///shop.db --table orders --event O --time_column at --mixpanel_emulator",
            0,
            "shows 1 events",
        ),
        ("check --input events.ndjson --report r.html", 0, "r.html"),
        ("import files --input bad.ndjson --dead_letters left --mixpanel_emulator", 3, "beam-mixpanel replay --input"),
        ("dead-letters summary 'dead-*'", 0, "time_missing"),
        ("replay --input 'dead-*' --fix pipelines.jobs:repair --mixpanel_emulator", 0, "shows 1 events"),
        ("doctor", 0, "not asked"),
        ('insert-id \'{"event":"A","properties":{"time":1790000000}}\'', 0, "$insert_id"),
        ("emulator --help", 0, "--port"),
        ("import bigquery --help", 0, "--table"),
        ("import pubsub --help", 0, "--subscription"),
    ],
)
def test_commands_work_in_a_folder_with_packages_of_its_own(
    command: Path, folder: Path, line: str, code: int, said: str
) -> None:
    """A user's `pipelines` hides nothing of ours, nor ours a user's; functions are found in the folder."""
    done = _type(command, folder, line)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


def test_a_file_of_the_folder_hides_no_module_of_python(command: Path, tmp_path: Path) -> None:
    """Neither for the command nor for the emulator and the worker processes that it starts."""
    for name in ("json", "logging", "statistics", "requests"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hidden')\n")
    (tmp_path / "events.ndjson").write_text('{"event": "A", "time": 1790000000, "distinct_id": "u"}\n')
    done = _type(command, tmp_path, "import files --input events.ndjson --mixpanel_emulator")
    assert done.returncode == 0, done.stderr
    if sys.version_info < (3, 11):  # which cannot keep `python -m`, as Beam starts workers, from the current folder
        return
    (tmp_path / "rows.csv").write_text("at,who\n1790000000,u1\n")
    (tmp_path / "jobs.py").write_text(MINE)
    processes = "--direct_num_workers 2 --direct_running_mode multi_processing"
    mapped = _type(
        command, tmp_path, f"import files --input rows.csv --map jobs:to_event --mixpanel_emulator {processes}"
    )
    assert mapped.returncode == 0, mapped.stderr
    assert "shows 1 events" in mapped.stderr


def test_the_package_is_the_command(command: Path) -> None:
    """`python -m beam_mixpanel` is `beam-mixpanel`."""
    python = command.parent / "python"
    done = subprocess.run(
        [python, "-m", "beam_mixpanel", "--version"], capture_output=True, text=True, cwd=command.parent, check=True,
        env=_WITHOUT_SOURCES,
    )  # fmt: skip
    assert done.stdout == f"beam-mixpanel {beam_mixpanel.__version__}\n"


def test_modules_of_a_user_still_run(command: Path, folder: Path) -> None:
    """A user's own `pipelines` is what Python finds in its folder, whether or not we are installed."""
    python = command.parent / "python"
    for name in ("pipelines", "templates", "tests", "benchmarks"):
        assert _printed(python, f"import {name}; print({name}.MINE)", folder=folder) == "True"


def _printed(python: Path, code: str, folder: Path | None = None) -> str:
    return subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True, cwd=folder, env=_WITHOUT_SOURCES
    ).stdout.strip()
