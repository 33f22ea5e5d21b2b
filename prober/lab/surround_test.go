package lab_test

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// Whatever the client stands behind, its way to everybody else is as long as was asked for, once it stands; what it had learned of its neighbours it still
// knows. No connect can be faster than the way is long, on however busy a machine.
func TestEveryScenarioHasItsWay(t *testing.T) {
	const rtt = 40 * time.Millisecond
	for _, name := range []string{"clean", "nd-queue-size", "slb-retransmit"} { // the last one's client is behind a wire already
		run := start(t, name, map[string]string{"path.rtt": rtt.String(), "path.loss": "0.000001", "client.syn_retries": "3"})
		began := time.Now()
		c, err := run.Client().Dial(t.Context(), &net.Dialer{Timeout: 10 * time.Second}, run.Target())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if took := time.Since(began); took < rtt {
			t.Errorf("%s: connected within %s over a way of %s", name, took, rtt)
		}
		c.Close()
		var retries []byte
		if err := run.Client().Do(func() (err error) {
			retries, err = os.ReadFile("/proc/sys/net/ipv4/tcp_syn_retries")
			return err
		}); err != nil || strings.TrimSpace(string(retries)) != "3" {
			t.Errorf("%s: tcp_syn_retries %q, %v", name, retries, err)
		}
	}
}
