package evidence

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/retrans"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// The file names its format and version. A change that older readers would misread raises the version; a new field does not, since a
// field that is absent has its zero value, and one that is unknown is refused by name.
const (
	formatName = "vipprobe observations"
	// Version of the schema that this package writes, and the only one that it reads.
	Version = 1
)

// Types that stand as one value in the file, in a form of their own.
func timeType() reflect.Type     { return reflect.TypeFor[time.Time]() }
func durationType() reflect.Type { return reflect.TypeFor[time.Duration]() }
func addrType() reflect.Type     { return reflect.TypeFor[netip.Addr]() }
func addrPortType() reflect.Type { return reflect.TypeFor[netip.AddrPort]() }
func optionsType() reflect.Type  { return reflect.TypeFor[wire.Options]() }
func macType() reflect.Type      { return reflect.TypeFor[wire.MAC]() }
func octetsType() reflect.Type   { return reflect.TypeFor[[]byte]() }

// scalar reports whether values of t stand as one JSON value although Go sees a structure.
func scalar(t reflect.Type) bool {
	switch t {
	case timeType(), addrType(), addrPortType(), optionsType(), macType(), octetsType():
		return true
	}
	return false
}

// words are the names of the values of an enumeration, by value; nil: t is none. They are those of every other face.
func words(t reflect.Type) []string {
	switch t {
	case reflect.TypeFor[observe.Outcome]():
		return named[observe.Outcome]()
	case reflect.TypeFor[observe.AnswerKind]():
		return named[observe.AnswerKind]()
	case reflect.TypeFor[observe.Proof]():
		return named[observe.Proof]()
	case reflect.TypeFor[observe.Clock]():
		return named[observe.Clock]()
	case reflect.TypeFor[observe.Lateness]():
		return named[observe.Lateness]()
	case reflect.TypeFor[observe.NeighborKind]():
		return named[observe.NeighborKind]()
	case reflect.TypeFor[observe.ParityState]():
		return named[observe.ParityState]()
	case reflect.TypeFor[plan.Via]():
		return named[plan.Via]()
	case reflect.TypeFor[plan.Reaction]():
		return named[plan.Reaction]()
	case reflect.TypeFor[plan.Closing]():
		return named[plan.Closing]()
	case reflect.TypeFor[plan.Way]():
		return named[plan.Way]()
	case reflect.TypeFor[retrans.Key]():
		return named[retrans.Key]()
	case reflect.TypeFor[wire.Checksum]():
		return named[wire.Checksum]()
	}
	return nil
}

// named lists the names of an enumeration, which ends where a value has the name of the zero value again.
func named[T interface {
	~uint8
	fmt.Stringer
}]() []string {
	list := []string{T(0).String()}
	for v := 1; v < 1<<8 && T(v).String() != list[0]; v++ {
		list = append(list, T(v).String())
	}
	return list
}

// key is the name of a struct's field in the file: lower case, words apart, a duration in nanoseconds.
func key(f reflect.StructField) string {
	name := strings.NewReplacer("SYNs", "Syns", "TSval", "Tsval", "TSecr", "Tsecr", "ToS", "Tos", "SYNACK", "SynAck").Replace(f.Name)
	var b strings.Builder
	letters := []rune(name)
	for i, c := range letters {
		upper := unicode.IsUpper(c)
		after := i > 0 && !unicode.IsUpper(letters[i-1])
		before := i > 0 && i+1 < len(letters) && unicode.IsLower(letters[i+1])
		if upper && (after || before) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	t := f.Type
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t == durationType() {
		b.WriteString("_ns")
	}
	return b.String()
}

// schema remembers what was found out about types.
type schema struct {
	keys  map[reflect.Type][]string
	names map[reflect.Type][]string
}

func newSchema() *schema {
	return &schema{map[reflect.Type][]string{}, map[reflect.Type][]string{}}
}

// fields are the keys of a struct's fields, in order.
func (s *schema) fields(t reflect.Type) []string {
	list, known := s.keys[t]
	if !known {
		for f := range t.Fields() {
			list = append(list, key(f))
		}
		s.keys[t] = list
	}
	return list
}

// words is words(t).
func (s *schema) words(t reflect.Type) []string {
	list, known := s.names[t]
	if !known {
		list = words(t)
		s.names[t] = list
	}
	return list
}

// unsafeRune reports whether a character could command the terminal on which a report is printed.
func unsafeRune(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' }
