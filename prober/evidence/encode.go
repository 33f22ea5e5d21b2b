package evidence

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Encode writes observations as the JSON document that Decode reads: every field under its own name, those of zero value left out. An
// error means that a type holds what cannot be stored, which its test would have shown.
func Encode(s Stored) ([]byte, error) {
	e := encoder{schema: newSchema()}
	e.b = fmt.Appendf(e.b, "{\"format\":%q,\"version\":%d", formatName, Version)
	v := reflect.ValueOf(s)
	for i, name := range e.schema.fields(v.Type()) {
		if v.Field(i).IsZero() {
			continue
		}
		e.b = fmt.Appendf(e.b, ",\n%q:", name)
		if err := e.value(v.Field(i)); err != nil {
			return nil, fmt.Errorf("%s%w", name, err)
		}
	}
	return append(e.b, "}\n"...), nil
}

// encoder appends JSON; every element of a list begins a line, so that a place in the file can be found again.
type encoder struct {
	b      []byte
	schema *schema
}

func (e *encoder) value(v reflect.Value) error {
	t := v.Type()
	if scalar(t) {
		return e.text(scalarText(v))
	}
	if list := e.schema.words(t); list != nil {
		n := int(v.Uint())
		if n >= len(list) {
			return fmt.Errorf(": %s has no name for %d", t, n)
		}
		return e.text(list[n])
	}
	switch t.Kind() {
	case reflect.Bool:
		e.b = strconv.AppendBool(e.b, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.b = strconv.AppendInt(e.b, v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.b = strconv.AppendUint(e.b, v.Uint(), 10)
	case reflect.String:
		return e.text(v.String())
	case reflect.Pointer:
		return e.value(v.Elem())
	case reflect.Slice, reflect.Array:
		return e.list(v)
	case reflect.Map:
		return e.table(v)
	case reflect.Struct:
		return e.object(v)
	default:
		return fmt.Errorf(": %s cannot be stored", t)
	}
	return nil
}

// text appends a string, without what could command a terminal.
func (e *encoder) text(s string) error {
	s = strings.Map(func(c rune) rune {
		if unsafeRune(c) {
			return utf8.RuneError
		}
		return c
	}, s)
	b, err := json.Marshal(s)
	e.b = append(e.b, b...)
	return err
}

func (e *encoder) list(v reflect.Value) error {
	e.b = append(e.b, '[')
	for i := range v.Len() {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		if v.Type().Elem().Kind() == reflect.Struct {
			e.b = append(e.b, '\n')
		}
		if err := e.value(v.Index(i)); err != nil {
			return fmt.Errorf("[%d]%w", i, err)
		}
	}
	e.b = append(e.b, ']')
	return nil
}

// table appends a map with string keys, in the order of the keys.
func (e *encoder) table(v reflect.Value) error {
	if v.Type().Key().Kind() != reflect.String {
		return fmt.Errorf(": %s cannot be stored", v.Type())
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
	e.b = append(e.b, '{')
	for i, k := range keys {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		if err := e.text(k.String()); err != nil {
			return err
		}
		e.b = append(e.b, ':')
		if err := e.value(v.MapIndex(k)); err != nil {
			return fmt.Errorf("[%s]%w", k, err)
		}
	}
	e.b = append(e.b, '}')
	return nil
}

func (e *encoder) object(v reflect.Value) error {
	e.b = append(e.b, '{')
	first := true
	for i, name := range e.schema.fields(v.Type()) {
		x := v.Field(i)
		if f := v.Type().Field(i); !f.IsExported() {
			return fmt.Errorf(".%s: %s hides it, so it cannot be stored", f.Name, v.Type())
		}
		if x.IsZero() {
			continue
		}
		if !first {
			e.b = append(e.b, ',')
		}
		first = false
		e.b = append(strconv.AppendQuote(e.b, name), ':')
		if err := e.value(x); err != nil {
			return fmt.Errorf(".%s%w", name, err)
		}
	}
	e.b = append(e.b, '}')
	return nil
}

// scalarText is the text of a value that stands as one although Go sees a structure.
func scalarText(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Time:
		return x.UTC().Format(time.RFC3339Nano)
	case netip.Addr:
		if !x.IsValid() {
			return ""
		}
		return x.String()
	case netip.AddrPort:
		if !x.Addr().IsValid() { // a port that was asked for, on an address that was not
			return ":" + strconv.Itoa(int(x.Port()))
		}
		return x.String()
	case wire.Options:
		return hex.EncodeToString(x.Bytes())
	case wire.MAC:
		return x.String()
	case []byte:
		return base64.StdEncoding.EncodeToString(x)
	}
	return ""
}
