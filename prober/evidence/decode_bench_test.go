package evidence

import (
	"os"
	"testing"
)

// What a second of work reads and writes: observations of a diagnosis are a few hundred KiB.
func BenchmarkCodec(b *testing.B) {
	data, err := os.ReadFile("testdata/neighbor-queue.json")
	if err != nil {
		b.Fatal(err)
	}
	s, err := Decode(data)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := Encode(s); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
