package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/lab/wires"
)

// Deponent is a host that tells its own counters to whom it is told to: `vipprobe serve` runs on it, or a node_exporter.
type Deponent struct {
	Server string // whose counters they are, as the target or member is called
	URL    string
	host   *topo.Host
	shelf  *topo.Shelf
	listen string
	// program of a node_exporter, with its arguments; empty: this program tells.
	program []string
}

// The management network: asking a server there leaves its knowledge of the client's link address on the other network as it is.
const (
	clientAside = "10.78.0.2"
	serverAside = "10.78.0.21"
	asidePort   = "19115"
)

// deposes lets a host tell its counters over a network of its own. procfs are files of the kernel's that are another's than this machine's, below
// /proc; nil: none are.
func (st *Stage) deposes(h *topo.Host, server string, procfs map[string]string) {
	lan := st.Bridge("aside")
	st.Client.Attach(lan, clientAside+"/24")
	h.Attach(lan, serverAside+"/24")
	d := Deponent{Server: server, host: h, shelf: st.Shelf(), listen: net.JoinHostPort(serverAside, asidePort)}
	d.URL = "http://" + d.listen
	st.Step("what "+h.Name+" tells", func() error {
		token := make([]byte, 16)
		if _, err := rand.Read(token); err != nil {
			return err
		}
		config := fmt.Sprintf("testimony:\n  serve: true\n  token_file: %s\n  procfs: %s\n", d.TokenFile(), d.shelf.Path("proc"))
		links := map[string]string{"net": "/proc/self/net", "sys": "/proc/sys"}
		if stat := topo.NeighborStat(); stat != "" {
			links["1/net/stat/arp_cache"] = stat
		}
		if procfs != nil {
			links = nil
		}
		var errs []error
		for name, to := range links {
			errs = append(errs, d.shelf.Link("proc/"+name, to))
		}
		for name, content := range procfs {
			errs = append(errs, d.shelf.Write("proc/"+name, []byte(content)))
		}
		return errors.Join(append(errs, d.shelf.Write("token", []byte(hex.EncodeToString(token))), d.shelf.Write("vipprobe.yml", []byte(config)))...)
	})
	if st.String("by") == exporter {
		d.URL += "/metrics"
		st.Step("the node_exporter of "+h.Name, func() (err error) {
			d.program, err = nodeExporter(d.listen, d.shelf.Path("proc"), procfs == nil)
			return err
		})
	}
	st.Deponents = append(st.Deponents, d)
}

// exporter is the value of the parameter by that lets a node_exporter tell.
const exporter = "node_exporter"

func byParam() Param {
	return Param{"by", "vipprobe", "whom the server tells its counters through: vipprobe, or node_exporter (it must be installed)", among("vipprobe").or(exporter)}
}

// nodeExporter is the command of a node_exporter that reads the kernel's counters below procfs; it tells the release of the machine's own kernel, where
// those counters are of that. That of refused SYNs is none of those that it tells by
// default (collector/netstat_linux.go, 1.5).
func nodeExporter(listen, procfs string, release bool) ([]string, error) {
	for _, name := range []string{"prometheus-node-exporter", "node_exporter"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		command := []string{path, "--web.listen-address=" + listen, "--path.procfs=" + procfs, "--collector.disable-defaults", "--collector.netstat",
			"--collector.netstat.fields=^TcpExt_(Listen.*|Syncookies.*|TCPReqQFull.*|PAWS.*|TCPSynRetrans)$", "--log.level=error"}
		if release {
			command = append(command, "--collector.uname")
		}
		return command, nil
	}
	return nil, fmt.Errorf("%w: node_exporter (Debian: prometheus-node-exporter)", ErrNeedsProgram)
}

// command is what tells.
func (d *Deponent) command(ctx context.Context) *exec.Cmd {
	if d.program != nil {
		return d.host.Command(ctx, d.program[0], d.program[1:]...)
	}
	return d.host.Command(ctx, "/proc/self/exe", "serve", "--config.file", d.shelf.Path("vipprobe.yml"), "--no-capture", "--web.listen-address", d.listen, "--log.level", "warn")
}

// flags are those of `diagnose` that ask it.
func (d *Deponent) flags() []string {
	asks := []string{"--testimony", d.Server + "=" + d.URL}
	if d.program != nil {
		return asks
	}
	return append(asks, "--testimony-token-file", d.TokenFile())
}

// TokenFile is where programs on the lab's hosts find the token.
func (d *Deponent) TokenFile() string { return d.shelf.Path("token") }

// deposing is how long a deponent may take to be ready.
const deposing = 10 * time.Second

// Depose starts this very program's `serve`, or a node_exporter, on every host that is to tell its counters, and returns the flags of `diagnose` that ask them. stop ends
// them.
func Depose(ctx context.Context, list []Deponent) (flags []string, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var running []*exec.Cmd
	stop = func() {
		cancel()
		for _, cmd := range running {
			_ = cmd.Wait() // it was killed
		}
	}
	for i := range list {
		d := &list[i]
		cmd := d.command(ctx)
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := d.host.Start(cmd); err != nil {
			stop()
			return nil, nil, fmt.Errorf("start what tells on %s: %w", d.host.Name, err)
		}
		running = append(running, cmd)
		if err := d.ready(ctx); err != nil {
			stop()
			return nil, nil, fmt.Errorf("what tells on %s: %w: %s", d.host.Name, err, lastLine(said.String()))
		}
		flags = append(flags, d.flags()...)
	}
	return flags, stop, nil
}

// ready waits until the deponent listens.
func (d *Deponent) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, deposing)
	defer cancel()
	for {
		c, err := d.host.Dial(ctx, &net.Dialer{Timeout: time.Second}, d.listen)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// oldKernel is what the /proc of a kernel with per-host PAWS says, in its own form. The lab has no such kernel: the wire before the server holds its
// rule, and counts what it refuses as that kernel's tcp_v4_conn_request does.
type oldKernel struct {
	release string
	// drops: what is refused counts as ListenDrops too, as on 3.10 (2.6.32 leaves it out).
	drops bool
}

// netstat is /proc/net/netstat (the first names of 3.10's list; net/ipv4/proc.c).
func (k oldKernel) netstat(refused int) string {
	dropped := 0
	if k.drops {
		dropped = refused
	}
	return fmt.Sprintf("TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled RcvPruned OfoPruned OutOfWindowIcmps LockDroppedIcmps ArpFilter TW "+
		"TWRecycled TWKilled PAWSPassive PAWSActive PAWSEstab ListenOverflows ListenDrops\nTcpExt: 0 0 0 0 0 0 0 0 0 0 0 0 0 %d 0 0 0 %d\n", refused, dropped)
}

// procfs are its files.
func (k oldKernel) procfs() map[string]string {
	return map[string]string{"net/netstat": k.netstat(0), "sys/kernel/osrelease": k.release + "\n", "sys/net/ipv4/tcp_tw_recycle": "1\n", "sys/net/ipv4/tcp_timestamps": "1\n"}
}

// countsRefused keeps the file up to date as the wire refuses SYNs, and others' that are refused by the way: as many at once, every so often.
func (st *Stage) countsRefused(r *wires.Recycle, k oldKernel, others int, every time.Duration) {
	shelf := st.Deponents[len(st.Deponents)-1].shelf
	count := make(chan struct{}, 1)
	var refused atomic.Int64
	r.OnRefused = func() {
		refused.Add(1)
		select {
		case count <- struct{}{}:
		default: // the last word is not read yet
		}
	}
	st.Go(func(ctx context.Context) {
		var tick <-chan time.Time
		if others > 0 {
			t := time.NewTicker(every)
			defer t.Stop()
			tick = t.C
		}
		theirs := 0
		for {
			select {
			case <-ctx.Done():
				return
			case <-count:
			case <-tick:
				theirs += others
			}
			_ = shelf.Write("proc/net/netstat", []byte(k.netstat(theirs+int(refused.Load())))) // what cannot be written is not told
		}
	})
}
