package evidence

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// scalar reads one value that is no object and no list.
func (d *decoder) scalar(v reflect.Value) error {
	t, err := d.token()
	if err != nil {
		return err
	}
	switch x := t.(type) {
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(x)
			return nil
		}
	case json.Number:
		if d.setNumber(v, x.String()) {
			return nil
		}
	case string:
		if err := d.take(len(x)); err != nil {
			return err
		}
		if why := d.setText(v, x); why != nil {
			return d.fail("%s: %w", tokenText(t), why)
		}
		return nil
	}
	return d.fail("want %s, not %s", d.wanted(v), tokenText(t))
}

// setNumber sets a number of any kind and reports whether it fits.
func (d *decoder) setNumber(v reflect.Value, text string) bool {
	if scalar(v.Type()) || d.schema.words(v.Type()) != nil {
		return false
	}
	switch {
	case v.CanInt():
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || v.OverflowInt(n) {
			return false
		}
		v.SetInt(n)
		return true
	case v.CanUint():
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || v.OverflowUint(n) {
			return false
		}
		v.SetUint(n)
		return true
	}
	return false
}

// wanted says what a value looks like in the file.
func (d *decoder) wanted(v reflect.Value) string {
	switch t := v.Type(); {
	case t == timeType():
		return "a time such as 2026-01-02T03:04:05.123456789Z"
	case scalar(t), d.schema.words(t) != nil:
		return "a string"
	case v.Kind() == reflect.Bool:
		return "true or false"
	case v.CanInt():
		return fmt.Sprintf("a whole number of %d bits", t.Bits())
	case v.CanUint():
		return fmt.Sprintf("a whole number of %d bits, not negative", t.Bits())
	}
	return "a string"
}

// The reasons why a text is not the value that stands in its place.
var (
	errControl = errors.New("a control character")
	errTime    = errors.New("want a time such as 2026-01-02T03:04:05.123456789Z")
	errOptions = errors.New("want at most 40 octets in hexadecimal digits")
	errString  = errors.New("a string stands where none belongs")
	errOctets  = errors.New("want octets in base64")
)

// setText sets what stands as a string in the file.
func (d *decoder) setText(v reflect.Value, s string) error {
	if strings.ContainsFunc(s, unsafeRune) {
		return errControl
	}
	if list := d.schema.words(v.Type()); list != nil {
		n := slices.Index(list, s)
		if n < 0 {
			return fmt.Errorf("want one of %s", strings.Join(list, ", "))
		}
		v.SetUint(uint64(n))
		return nil
	}
	if !scalar(v.Type()) {
		if v.Kind() != reflect.String {
			return errString
		}
		v.SetString(s)
		return nil
	}
	x, err := parse(v.Type(), s)
	if err != nil {
		return err
	}
	v.Set(reflect.ValueOf(x))
	return nil
}

// parse reads the text of a scalar type.
func parse(t reflect.Type, s string) (any, error) {
	switch t {
	case timeType():
		x, err := time.Parse(time.RFC3339Nano, s)
		if err != nil || x.UTC().Year() < 1 || x.UTC().Year() > 9999 {
			return nil, errTime
		}
		return x.UTC(), nil
	case addrType():
		if s == "" {
			return netip.Addr{}, nil
		}
		return netip.ParseAddr(s)
	case addrPortType():
		if port, bare := strings.CutPrefix(s, ":"); bare {
			n, err := strconv.ParseUint(port, 10, 16)
			return netip.AddrPortFrom(netip.Addr{}, uint16(n)), err
		}
		return netip.ParseAddrPort(s)
	case optionsType():
		b, err := hex.DecodeString(s)
		if err != nil || len(b) > 40 {
			return nil, errOptions
		}
		o, _ := wire.ParseOptions(b) // what a peer sent is kept as it is, faults included
		return o, nil
	case macType():
		return wire.ParseMAC(s)
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, errOctets
	}
	return b, nil
}
