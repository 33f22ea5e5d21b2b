package watch

import "github.com/vipprobe/vipprobe/prober/internal/hostproc"

// Place says which network namespace is meant; the zero Place is that of the calling process.
type Place = hostproc.Place

// Host is how the calling process's own namespace is spelt.
const Host = hostproc.Host

// ParsePlace reads "host", a process id, a path (with a slash), or a name of ip-netns(8). The error says what the text could mean.
func ParsePlace(text string) (Place, error) { return hostproc.ParsePlace(text) }

// NamedPlace is a namespace by its ip-netns(8) name, also where that looks like a number.
func NamedPlace(name string) (Place, error) { return hostproc.NamedPlace(name) }
