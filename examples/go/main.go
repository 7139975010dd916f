// Imports orders into Mixpanel; what cannot be imported becomes lines for replay_dead_letters.
package main

import (
	"context"
	"flag"
	"log"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/typex"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/textio"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/xlang/python"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/local"
)

var (
	expansionService = flag.String("expansion_service", "localhost:8097", "address of Beam's expansion service in Python")
	projectToken     = flag.String("project_token", "env:MIXPANEL_PROJECT_TOKEN", "reference to the token")
	apiHost          = flag.String("api_host", "https://api.mixpanel.com", "base URL")
	deadLetters      = flag.String("dead_letters", "dead.jsonl", "file for what cannot be imported")
)

// Order is a row, whose columns the mapping names.
type Order struct {
	ID        string  `beam:"order_id"`
	OrderedAt string  `beam:"ordered_at"`
	Customer  string  `beam:"customer"`
	Total     float64 `beam:"total"`
}

type arguments struct {
	ProjectToken  string        `beam:"project_token"`
	APIHost       string        `beam:"api_host"`
	Mapping       mapping       `beam:"mapping"`
	ErrorHandling errorHandling `beam:"error_handling"`
}

type mapping struct {
	Event           string   `beam:"event"`
	TimeColumn      string   `beam:"time_column"`
	UserIDColumn    string   `beam:"user_id_column"`
	InsertIDColumns []string `beam:"insert_id_columns"`
}

type errorHandling struct {
	Output string `beam:"output"`
}

// Rows that come from Python have types without names in Go, so these are aliases.
type (
	deadLetter = struct {
		Stage   string `beam:"stage"`
		Reason  string `beam:"reason"`
		Field   string `beam:"field"`
		Message string `beam:"message"`
		Source  string `beam:"source"`
		Fate    string `beam:"fate"`
		Line    string `beam:"line"`
	}
	receipt = struct {
		Events      int64   `beam:"events"`
		Imported    int64   `beam:"imported"`
		Rejected    int64   `beam:"rejected"`
		Attempt     int64   `beam:"attempt"`
		LatencySecs float64 `beam:"latency_secs"`
	}
)

func init() {
	beam.RegisterType(reflect.TypeOf(Order{}))
	beam.RegisterFunction(line)
}

func line(letter deadLetter) string {
	return letter.Line
}

func main() {
	flag.Parse()
	beam.Init()
	pipeline, scope := beam.NewPipelineWithRoot()
	orders := beam.Create(scope,
		Order{"1", "2026-10-01T10:00:00Z", "c1", 10.5},
		Order{"2", "2026-10-01T11:00:00Z", "c2", 3},
		Order{"3", "", "c3", 1})
	textio.Write(scope, *deadLetters, beam.ParDo(scope, line, write(scope, orders)))
	if err := beamx.Run(context.Background(), pipeline); err != nil {
		log.Fatal(err)
	}
}

// write imports rows, and gives dead letters.
func write(scope beam.Scope, rows beam.PCollection) beam.PCollection {
	transform := python.NewExternalTransform[struct{}, arguments]("beam_mixpanel.yaml.WriteToMixpanel")
	transform.WithKwargs(arguments{
		ProjectToken:  *projectToken,
		APIHost:       *apiHost,
		Mapping:       mapping{"Order Placed", "ordered_at", "customer", []string{"order_id"}},
		ErrorHandling: errorHandling{"dead_letters"},
	})
	written := beam.CrossLanguage(scope, "beam:transforms:python:fully_qualified_named",
		beam.CrossLanguagePayload(transform), *expansionService, beam.UnnamedInput(rows),
		map[string]beam.FullType{
			"good":         typex.New(reflect.TypeFor[receipt]()),
			"dead_letters": typex.New(reflect.TypeFor[deadLetter]()),
		})
	return written["dead_letters"]
}
