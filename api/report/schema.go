package report

import (
	"fmt"
	"io"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/vipprobe/vipprobe/api/view"
)

// Schema writes the JSON Schema (draft 2020-12) of a validation's JSON.
func Schema(w io.Writer) error {
	const defs = "#/$defs/"
	r := huma.NewMapRegistry(defs, huma.DefaultSchemaNamer)
	root := r.Schema(reflect.TypeFor[view.Validation](), true, "")
	all := map[string]any{"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "vipprobe validate -o json", "$ref": root.Ref, "$defs": r.Map()}
	if err := view.WriteJSON(w, all); err != nil {
		return fmt.Errorf("write the schema: %w", err)
	}
	return nil
}
