package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Guard decides which addresses may be dialled. The zero value allows public unicast addresses only;
// Allow adds prefixes that the operator trusts. The decision falls on the address that is dialled,
// after name resolution and for each attempt, so that a name cannot change its mind in between.
type Guard struct {
	Allow []netip.Prefix
}

// ParsePrefixes reads CIDR prefixes or single addresses ("10.0.0.0/8", "::1").
func ParsePrefixes(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, err2 := netip.ParseAddr(s)
			if err2 != nil {
				return nil, fmt.Errorf("%q is neither an address nor a prefix: %w", s, err)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// Loopback are the prefixes of this machine, for operators and demos that allow it.
func Loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// Dial connects like net.Dialer.DialContext, or fails with [ErrRefusedAddress].
func (g Guard) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, fmt.Errorf("%w: network %s", ErrRefusedAddress, network)
	}
	d := net.Dialer{Timeout: time.Minute, KeepAlive: 30 * time.Second, Control: g.control}
	return d.DialContext(ctx, network, addr)
}

// control sees the address of each attempt just before it is dialled.
func (g Guard) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrRefusedAddress, address)
	}
	return g.Check(ap.Addr())
}

// Check returns nil if a may be dialled, else an error that wraps [ErrRefusedAddress] and says why.
func (g Guard) Check(a netip.Addr) error {
	a = a.WithZone("").Unmap()
	for _, p := range g.Allow {
		if p.Contains(a) {
			return nil
		}
	}
	if why := refusal(a); why != "" {
		return fmt.Errorf("%w: %s is %s", ErrRefusedAddress, a, why)
	}
	return nil
}

type block struct {
	prefix netip.Prefix
	why    string
}

func blocks(pairs ...string) []block {
	out := make([]block, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, block{netip.MustParsePrefix(pairs[i]), pairs[i+1]})
	}
	return out
}

// What IANA's special-purpose registries (RFC 6890 and successors) keep off the public Internet, and
// the cloud metadata services that live on otherwise public addresses.
var (
	refused4 = blocks(
		"0.0.0.0/8", "unspecified",
		"10.0.0.0/8", "private",
		"100.64.0.0/10", "shared address space (CGNAT)",
		"127.0.0.0/8", "loopback",
		"168.63.129.16/32", "a metadata service",
		"169.254.0.0/16", "link-local",
		"172.16.0.0/12", "private",
		"192.0.0.0/24", "reserved",
		"192.0.2.0/24", "documentation",
		"192.88.99.0/24", "6to4 relay",
		"192.168.0.0/16", "private",
		"198.18.0.0/15", "benchmarking",
		"198.51.100.0/24", "documentation",
		"203.0.113.0/24", "documentation",
		"224.0.0.0/4", "multicast",
		"240.0.0.0/4", "reserved",
	)
	refused6 = blocks(
		"2001::/23", "reserved (Teredo, ORCHID and others)",
		"2001:db8::/32", "documentation",
		"3fff::/20", "documentation",
	)
	global6 = netip.MustParsePrefix("2000::/3")
	nat64   = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4  = netip.MustParsePrefix("2002::/16")
)

// refusal says what a, which is unmapped and without zone, is, or "" if it is public.
func refusal(a netip.Addr) string {
	if !a.IsValid() {
		return "invalid"
	}
	if a.Is4() {
		return within(refused4, a)
	}
	b := a.As16()
	switch {
	case nat64.Contains(a): // RFC 6052: the last 32 bits
		return embedded("NAT64", [4]byte(b[12:16]))
	case sixTo4.Contains(a): // RFC 3056: bits 16 to 47
		return embedded("6to4", [4]byte(b[2:6]))
	case !global6.Contains(a):
		return "not global unicast"
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // RFC 5214: ISATAP
		return embedded("ISATAP", [4]byte(b[12:16]))
	}
	return within(refused6, a)
}

func embedded(form string, v4 [4]byte) string {
	if why := within(refused4, netip.AddrFrom4(v4)); why != "" {
		return form + " for an address that is " + why
	}
	return ""
}

func within(list []block, a netip.Addr) string {
	for _, b := range list {
		if b.prefix.Contains(a) {
			return b.why
		}
	}
	return ""
}
