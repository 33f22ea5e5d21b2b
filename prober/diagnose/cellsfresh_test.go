package diagnose

import "testing"

// flowsAsked are n flows, each asked in quadrant 0 again and again: first and later say how many of the n, and of their later asks, had no answer.
func flowsAsked(n, later, firstSilent, laterSilent int) cells {
	var c cells
	for i := range n {
		asks := []ask{{answered: i >= firstSilent}}
		for range later {
			asks = append(asks, ask{answered: laterSilent <= 0})
			laterSilent--
		}
		c.flows = append(c.flows, cell{asks: asks})
	}
	return c
}

func TestFlowsAskedAgainAreHeldAgainstTheirFirstSYN(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cells cells
		want  bool
	}{
		"a memory refuses first and later SYNs alike":                    {flowsAsked(16, 5, 9, 45), false},
		"half of the members refuse, whichever SYN it is":                {flowsAsked(16, 5, 8, 42), false},
		"every first SYN fits, the repeats of the same flow do not":      {flowsAsked(16, 5, 0, 45), true},
		"near miss: the repeats lose a few more, as chance has it":       {flowsAsked(16, 5, 0, 10), false},
		"first SYNs refused more often, as when a memory ends meanwhile": {flowsAsked(16, 5, 16, 20), false},
		"nothing was asked": {cells{}, false},
	} {
		if got := c.cells.stray(0); got != c.want {
			t.Errorf("%s: stray = %v", name, got)
		}
	}
}
