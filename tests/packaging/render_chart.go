// SPDX-License-Identifier: Apache-2.0

// Renders a template of the chart as helm does: Go's own template engine, and those of helm's functions that
// the chart uses. Standard input: {"template": text, "data": {"Values": ..., "Release": ..., "Chart": ...}}.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"text/template"
)

type input struct {
	Template string
	Data     map[string]any
}

func empty(v any) bool {
	return v == nil || v == "" || v == false || v == 0.0
}

func main() {
	var in input
	functions := template.FuncMap{
		"quote":   func(v any) string { return strconv.Quote(fmt.Sprint(v)) },
		"b64enc":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"toJson":  func(v any) (string, error) { b, err := json.Marshal(v); return string(b), err },
		"default": func(d, v any) any { if empty(v) { return d }; return v },
		"required": func(why string, v any) (any, error) {
			if empty(v) {
				return nil, fmt.Errorf("%s", why)
			}
			return v, nil
		},
	}
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	t, err := template.New("chart").Option("missingkey=error").Funcs(functions).Parse(in.Template)
	if err == nil {
		err = t.Execute(os.Stdout, in.Data)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
