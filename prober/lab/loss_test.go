package lab

import "testing"

func TestEveryRowDrawsItsOwnLoss(t *testing.T) {
	seen := map[float64]string{}
	for _, name := range []string{"clean", "arp-client"} {
		for _, miss := range []string{"", "off"} {
			for seed := 1; seed <= 20; seed++ {
				x := drawLoss(0.05, name, miss, seed)
				if x < 0 || x >= 0.05 {
					t.Errorf("%s/%s seed %d: %g, want 0 … 0.05", name, miss, seed, x)
				}
				if x != drawLoss(0.05, name, miss, seed) {
					t.Errorf("%s/%s seed %d: two draws, two losses", name, miss, seed)
				}
				if other, twice := seen[x]; twice {
					t.Errorf("%s/%s seed %d loses as much as %s", name, miss, seed, other)
				}
				seen[x] = name
			}
		}
	}
}

func TestAddedLossLeavesTheCatalogueAlone(t *testing.T) {
	s, _ := Find("recycle-direct")
	lossy := s.WithLoss(0.02)
	if !lossy.Label.Lossy || !lossy.NearMisses[0].Label.Lossy || lossy.Loss != 0.02 {
		t.Errorf("labels %v and %v, loss %g", lossy.Label, lossy.NearMisses[0].Label, lossy.Loss)
	}
	if s.Label.Lossy || s.NearMisses[0].Label.Lossy || s.WithLoss(0).Label.Lossy {
		t.Error("the scenario itself became lossy")
	}
}
