package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
)

// What a file may ask of this process: its size, and the memory of what it says.
const (
	maxFile   = 256 << 20
	maxMemory = 1 << 30
)

// Decode reads what Encode wrote. It is made for files of unknown origin: every error names the line and the place in the document, a field
// that it does not know included, and nothing in the file can make it take more than about a GiB.
func Decode(data []byte) (Stored, error) { return decode(data, maxMemory) }

func decode(data []byte, memory int) (Stored, error) {
	if len(data) > maxFile {
		return Stored{}, fmt.Errorf("%d octets, want at most %d", len(data), maxFile)
	}
	d := &decoder{data: data, json: json.NewDecoder(bytes.NewReader(data)), schema: newSchema(), memory: memory}
	d.json.UseNumber()
	s, err := d.document()
	if err == nil {
		err = d.end()
	}
	if err == nil {
		err = check(&s)
	}
	if err != nil {
		return Stored{}, err
	}
	return s, nil
}

type decoder struct {
	data   []byte
	json   *json.Decoder
	path   []string
	schema *schema
	memory int // octets that the document may still ask for
}

// fail is an error at the place where the decoder stands.
func (d *decoder) fail(format string, args ...any) error {
	line := 1 + bytes.Count(d.data[:min(int(d.json.InputOffset()), len(d.data))], []byte("\n"))
	place := strings.TrimPrefix(strings.Join(d.path, ""), ".")
	if place != "" {
		place += ": "
	}
	return fmt.Errorf("line %d: %s%w", line, place, fmt.Errorf(format, args...))
}

// token reads the next token.
func (d *decoder) token() (json.Token, error) {
	t, err := d.json.Token()
	if err == nil {
		return t, nil
	}
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, d.fail("the file ends in the middle")
	case errors.As(err, &syntax):
		return nil, d.fail("no JSON: %s", syntax)
	}
	return nil, d.fail("no JSON: %w", err)
}

func (d *decoder) delim(want json.Delim) error {
	t, err := d.token()
	if err != nil {
		return err
	}
	if t != want {
		return d.fail("want %s, not %s", want, tokenText(t))
	}
	return nil
}

// tokenText is a token as it may stand in an error.
func tokenText(t json.Token) string {
	if s, ok := t.(string); ok {
		if len(s) > 40 {
			s = s[:40] + "…"
		}
		return fmt.Sprintf("%q", s)
	}
	if t == nil {
		return "null"
	}
	return fmt.Sprint(t)
}

// document reads the outer object. Its first two fields say whether the rest can be read at all.
func (d *decoder) document() (Stored, error) {
	var s Stored
	if err := d.delim('{'); err != nil {
		return s, err
	}
	for _, want := range []struct{ key, value string }{{"format", formatName}, {"version", fmt.Sprint(Version)}} {
		if err := d.header(want.key, want.value); err != nil {
			return s, err
		}
	}
	return s, d.fields(reflect.ValueOf(&s).Elem())
}

func (d *decoder) header(key, want string) error {
	name, err := d.token()
	if err != nil {
		return err
	}
	if name != key {
		return d.fail("this is no file of %s: want %q first, not %s", formatName, key, tokenText(name))
	}
	value, err := d.token()
	if err != nil {
		return err
	}
	if fmt.Sprint(value) != want {
		return d.fail("%s %s: this program reads %s alone", key, tokenText(value), want)
	}
	return nil
}

// end wants nothing after the document.
func (d *decoder) end() error {
	d.path = nil
	if _, err := d.json.Token(); !errors.Is(err, io.EOF) {
		return d.fail("something follows the end of the document")
	}
	return nil
}

// at goes on one step further down the path for the time of a call.
func (d *decoder) at(step string, read func() error) error {
	d.path = append(d.path, step)
	err := read()
	d.path = d.path[:len(d.path)-1]
	return err
}

// fields reads the rest of an object into a struct.
func (d *decoder) fields(v reflect.Value) error {
	known := d.schema.fields(v.Type())
	seen := make([]bool, len(known))
	for d.json.More() {
		t, err := d.token()
		if err != nil {
			return err
		}
		name, _ := t.(string) // the JSON decoder takes nothing else here
		i := slices.Index(known, name)
		switch {
		case i < 0:
			return d.fail("unknown field %s: written by another version?", tokenText(t))
		case seen[i]:
			return d.fail("field %q stands here twice", name)
		}
		seen[i] = true
		if err := d.at("."+name, func() error { return d.value(v.Field(i)) }); err != nil {
			return err
		}
	}
	return d.delim('}')
}

func (d *decoder) value(v reflect.Value) error {
	t := v.Type()
	if scalar(t) || d.schema.words(t) != nil {
		return d.scalar(v)
	}
	switch t.Kind() {
	case reflect.Struct:
		return d.object(v)
	case reflect.Slice:
		return d.list(v)
	case reflect.Array:
		return d.array(v)
	case reflect.Map:
		return d.table(v)
	case reflect.Pointer:
		return d.pointer(v)
	default:
		return d.scalar(v)
	}
}

func (d *decoder) object(v reflect.Value) error {
	if err := d.delim('{'); err != nil {
		return err
	}
	return d.fields(v)
}

func (d *decoder) pointer(v reflect.Value) error {
	if err := d.take(int(v.Type().Elem().Size())); err != nil {
		return err
	}
	v.Set(reflect.New(v.Type().Elem()))
	return d.value(v.Elem())
}

// take counts memory that the document asks for.
func (d *decoder) take(octets int) error {
	if d.memory -= octets; d.memory < 0 {
		return d.fail("more observations than this program takes into its memory")
	}
	return nil
}

func (d *decoder) list(v reflect.Value) error {
	if err := d.delim('['); err != nil {
		return err
	}
	elem := v.Type().Elem()
	list := reflect.MakeSlice(v.Type(), 0, 0)
	for i := 0; d.json.More(); i++ {
		// a growing list has half of its room free, and is copied from one half as large
		if err := d.take(2 * int(elem.Size())); err != nil {
			return err
		}
		x := reflect.New(elem).Elem()
		if err := d.at(fmt.Sprintf("[%d]", i), func() error { return d.value(x) }); err != nil {
			return err
		}
		list = reflect.Append(list, x)
	}
	v.Set(list)
	return d.delim(']')
}

// array reads a list of just so many elements.
func (d *decoder) array(v reflect.Value) error {
	if err := d.delim('['); err != nil {
		return err
	}
	for i := range v.Len() {
		if !d.json.More() {
			return d.fail("%d elements, want %d", i, v.Len())
		}
		if err := d.at(fmt.Sprintf("[%d]", i), func() error { return d.value(v.Index(i)) }); err != nil {
			return err
		}
	}
	return d.delim(']')
}

// perEntry is about what one entry of a map takes beside its key and value.
const perEntry = 64

func (d *decoder) table(v reflect.Value) error {
	if err := d.delim('{'); err != nil {
		return err
	}
	v.Set(reflect.MakeMap(v.Type()))
	for d.json.More() {
		t, err := d.token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		if err := d.take(perEntry + len(name)); err != nil {
			return err
		}
		x := reflect.New(v.Type().Elem()).Elem()
		if err := d.at("["+name+"]", func() error {
			if strings.ContainsFunc(name, unsafeRune) {
				return d.fail("a control character in the name")
			}
			return d.value(x)
		}); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), x)
	}
	return d.delim('}')
}
