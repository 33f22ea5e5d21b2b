package prober_test

import (
	"context"
	"fmt"
	"net"

	"github.com/vipprobe/vipprobe/prober"
)

// A target is probed in ten lines; here it is a listener of this process.
func Example() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()

	allow, _ := prober.ParseAllow([]string{"127.0.0.0/8"})
	p, err := prober.New(prober.Options{Allow: allow})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	rounds, err := p.Probe(context.Background(), l.Addr().String(), prober.DefaultModule())
	if err != nil {
		fmt.Println(err)
		return
	}
	s := prober.Summarize(rounds[0].Attempts())
	fmt.Printf("%d connections, %d stalled\n", s.Attempts, s.Stalled)
	// Output: 10 connections, 0 stalled
}
