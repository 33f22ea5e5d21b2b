package diagnose

// naming is the chance that a whole investigation names, among causes that rest on chance, one that is not there. It is shared out among
// the rules that compete for the same losses, and each divides its share by the looks it has taken (Bonferroni).
const (
	naming      = 1e-4
	chanceRules = 5 // timestamps, rate, sticky, uneven, race
)

// firm is the level that a p-value carries which was looked at so many times: confirmed, or not enough to name anything.
func firm(p float64, looks int) Level {
	if p*float64(max(looks, 1))*chanceRules < naming {
		return Confirmed
	}
	return Inconclusive
}
