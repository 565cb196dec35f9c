package api

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// DefaultRate is how many requests a second a token may make on the average.
	DefaultRate = 50
	// addressShare is how many tokens' worth of requests may come from one address: many people may stand behind it.
	addressShare = 4
	// pollShare is how many times as often what is answered from memory may be asked: one token serves all processes of an application.
	pollShare = 40
	// guessRate is how many requests a second an address may make whose token is not accepted.
	guessRate = 1
	// rateBurst is how many seconds' worth may come at once.
	rateBurst = 2
	// mostKept bounds how many tokens and addresses are told apart. Where there are more, those that are at rest are forgotten, and if
	// none is, all of them: a flood from everywhere must not fill the memory.
	mostKept = 10_000
)

// MostAtOnce is how many requests from the network are answered at the same time. The others wait: they share the connections to the
// databases with the coordinator's own loops, which must not run out of them.
const MostAtOnce = 5

// atOnceWait is how long a request waits for its turn.
const atOnceWait = 10 * time.Second

// readMost is how long a request from the network may read: a database that hangs must not keep every turn.
const readMost = 30 * time.Second

// atOnce answers a request when it is its turn. One of this process does not wait.
func atOnce[O any](ctx context.Context, turns chan struct{}, answer func() (*O, error)) (*O, error) {
	if addressOf(ctx) == "" {
		return answer()
	}
	late := time.NewTimer(atOnceWait)
	defer late.Stop()
	select {
	case turns <- struct{}{}:
		defer func() { <-turns }()
		return answer()
	case <-late.C:
		return nil, tooMany("all clients together", time.Second)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// limits limits how often each of many may ask.
type limits struct {
	every rate.Limit
	burst int
	now   func() time.Time

	mu  sync.Mutex
	all map[string]*rate.Limiter
}

func newLimits(perSecond float64, burst int, now func() time.Time) *limits {
	return &limits{every: rate.Limit(perSecond), burst: max(burst, 1), now: now, all: map[string]*rate.Limiter{}}
}

// take counts one request. If it comes too early it returns after what time to come again. A nil limits has no limit.
func (l *limits) take(who string) (wait time.Duration) {
	if l == nil {
		return 0
	}
	now := l.now()
	r := l.of(who, now).ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

func (l *limits) of(who string, now time.Time) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	lim := l.all[who]
	if lim != nil {
		return lim
	}
	if len(l.all) >= mostKept {
		for name, lim := range l.all {
			if lim.TokensAt(now) >= float64(l.burst) {
				delete(l.all, name)
			}
		}
		if len(l.all) >= mostKept {
			clear(l.all)
		}
	}
	lim = rate.NewLimiter(l.every, l.burst)
	l.all[who] = lim
	return lim
}

// rates are the limits of one server.
type rates struct {
	tokens, addresses, guesses *limits
	pollTokens, pollAddresses  *limits // of operations that are answered from memory
}

// newRates makes the limits for so many requests a second of one token; 0 sets none.
func newRates(perSecond float64, now func() time.Time) rates {
	if perSecond <= 0 {
		return rates{}
	}
	limit := func(n, burst float64) *limits { return newLimits(n, int(math.Ceil(burst)), now) }
	return rates{
		tokens:    limit(perSecond, perSecond*rateBurst),
		addresses: limit(perSecond*addressShare, perSecond*addressShare*rateBurst),
		guesses:   limit(guessRate, 10*guessRate),

		pollTokens:    limit(perSecond*pollShare, perSecond*pollShare*rateBurst),
		pollAddresses: limit(perSecond*pollShare*addressShare, perSecond*pollShare*addressShare*rateBurst),
	}
}

// tooMany is the refusal of a request that came too early.
func tooMany(who string, wait time.Duration) *Problem {
	p := Fail(TooMany, fmt.Errorf("requests of %s come too fast", who), "come again as Retry-After says")
	p.retryAfter = max(1, int(math.Ceil(wait.Seconds())))
	return p
}

// subnet is the address that a request is counted under: an IPv6 one by its /64, which is one host's to give itself.
func subnet(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if a = a.Unmap().WithZone(""); a.Is6() {
		p, _ := a.Prefix(64) // no error: it has more bits
		return p.String()
	}
	return a.String()
}

type addressKey struct{}

// addressOf is where a request came from; empty for one of this process.
func addressOf(ctx context.Context) string {
	a, _ := ctx.Value(addressKey{}).(string)
	return a
}
