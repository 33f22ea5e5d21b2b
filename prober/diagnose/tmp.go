package diagnose
func fisherTMP(a,b,c,d int) float64 { return 1 }
