package diagnose

import "math"

func fisherTMP(a, b, c, d int) float64 { return fisherExact(a, b, c, d) }

func fisherExact(a, b, c, d int) float64 {
	n1, n2, k := a+b, c+d, a+c
	p := 0.0
	for x := a; x <= min(n1, k); x++ {
		if k-x > n2 {
			continue
		}
		p += math.Exp(logChoose(n1, x) + logChoose(n2, k-x) - logChoose(n1+n2, k))
	}
	return math.Min(1, p)
}

func wilson(k, n int) (float64, float64) {
	const z = 2.576
	p := float64(k) / float64(n)
	nn := float64(n)
	c := (p + z*z/(2*nn)) / (1 + z*z/nn)
	h := z / (1 + z*z/nn) * math.Sqrt(p*(1-p)/nn+z*z/(4*nn*nn))
	return math.Max(0, c-h), math.Min(1, c+h)
}
