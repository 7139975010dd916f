"""Imports two events with PyPI's mixpanel-utils, and exports them to a file: URL TIME DAY FILE."""

import sys

from mixpanel_utils import MixpanelUtils

url, time, day, file = sys.argv[1:]
utils = MixpanelUtils("secret", token="token", service_account_username="user", project_id=1, pool_size=1)
utils.import_api, utils.raw_api = url, f"{url}/api"
ids = {"time": int(time), "distinct_id": "ann"}
events = [{"event": f"utils {number}", "properties": {**ids, "$insert_id": f"id-{number}"}} for number in (1, 2)]
utils.import_events(events, timezone_offset=0)
utils.export_events(file, {"from_date": day, "to_date": day})
