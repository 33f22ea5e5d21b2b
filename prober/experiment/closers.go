package experiment

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Closer is a way to make a server close a connection before its client does.
type Closer struct {
	Name string
	// Data is sent once the connection stands; nil: nothing is, and the server's patience is waited for.
	Data []byte
	// Patience is how long that may take; 0: as long as the others may.
	Patience time.Duration
}

const idleName = "idle"

// How long the server's patience is waited for: where the caller asks for nothing else, and where all else has failed.
const (
	askedPatience = 45 * time.Second
	lastPatience  = 12 * time.Second
)

// AutoClosers are requests after which common servers close first, and, beside them, nothing: for servers that close by themselves.
func AutoClosers() []Closer {
	return []Closer{
		{Name: "http", Data: []byte("HEAD / HTTP/1.0\r\nHost: vipprobe\r\nConnection: close\r\n\r\n")}, // RFC 9112 §9.6
		{Name: "tls", Data: []byte("\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03")},                    // a ClientHello that ends after its version: decode_error (RFC 8446 §6.2)
		{Name: "postgres", Data: []byte("\x00\x00\x00\x09\x00\x03\x00\x00\x00")},                       // a startup packet without a user: FATAL, and the end
		{Name: "redis", Data: []byte("QUIT\r\n")},                                                      // also memcached, FTP, POP3
		{Name: "mysql", Data: []byte("\x01\x00\x00\x01\x01")},                                          // a handshake response of one octet: bad handshake
		{Name: "ssh", Data: []byte("SSH-1.0-vipprobe\r\n")},                                            // a protocol version that is spoken no more (RFC 4253 §5)
		{Name: idleName},
	}
}

// smtp asks an SMTP server to end the session (RFC 5321 §4.1.1.10); auto does the same under the name of redis.
func smtp() Closer { return Closer{Name: "smtp", Data: []byte("QUIT\r\n")} }

// maxCloser bounds a payload of one's own, in octets: it must fit one segment.
const maxCloser = 1200

// ParseClosers reads a list of ways to make the server close, separated by commas: auto, http, tls, postgres, mysql, redis, ssh, smtp, idle,
// hex:OCTETS; text:STRING with \r, \n, \t and \\ takes the rest of the list. Empty means auto, for which it returns nil.
func ParseClosers(spec string) ([]Closer, error) {
	var out []Closer
	for rest := spec; rest != ""; {
		var word string
		if strings.HasPrefix(rest, "text:") {
			word, rest = rest, ""
		} else {
			word, rest, _ = strings.Cut(rest, ",")
		}
		if word == "auto" {
			out = append(out, AutoClosers()...)
			continue
		}
		c, err := parseCloser(word)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) > 16 {
		return nil, fmt.Errorf("%d ways to make the server close: want at most 16", len(out))
	}
	return out, nil
}

func parseCloser(word string) (Closer, error) {
	kind, value, own := strings.Cut(word, ":")
	c := Closer{Name: kind}
	switch {
	case own && kind == "hex":
		data, err := hex.DecodeString(value)
		if err != nil {
			return c, fmt.Errorf("%q: want hex: and an even number of hexadecimal digits", word)
		}
		c.Data = data
	case own && kind == "text":
		c.Data = []byte(strings.NewReplacer(`\\`, `\`, `\r`, "\r", `\n`, "\n", `\t`, "\t").Replace(value))
	case word == idleName:
		return Closer{Name: idleName, Patience: askedPatience}, nil
	case word == "smtp":
		return smtp(), nil
	default:
		for _, known := range AutoClosers() {
			if known.Name == word {
				return known, nil
			}
		}
		return c, fmt.Errorf("%q: want auto, http, tls, postgres, mysql, redis, ssh, smtp, idle, hex:OCTETS or text:STRING", word)
	}
	if len(c.Data) == 0 || len(c.Data) > maxCloser {
		return c, fmt.Errorf("%.20q: %d octets; want 1 to %d", word, len(c.Data), maxCloser)
	}
	return c, nil
}
