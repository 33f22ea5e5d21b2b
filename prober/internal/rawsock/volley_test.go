package rawsock

import "testing"

func TestVolleysAllocateNothing(t *testing.T) {
	newPeer(t)
	p := openPath(t, far4)
	packets := sink(templates(t, p, far4, VolleySize))
	v, err := NewVolley(p.route)
	must(t, err)
	defer func() { must(t, v.Close()) }()
	if n := testing.AllocsPerRun(20, func() {
		for i := range packets {
			b := v.Slot()
			copy(b, packets[i].Link[:])
			v.Add(copy(b[LinkRoom:], packets[i].Data))
		}
		_, _ = v.Flush()
	}); n != 0 {
		t.Errorf("%v allocations for %d packets", n, len(packets))
	}
}
