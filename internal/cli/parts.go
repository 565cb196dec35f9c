package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/backfleet/backfleet/internal/observe"
)

// parts are the long-running parts of one process. They are stopped in the reverse order of their start, each waited for, so
// that a worker hands its ranges back while its coordinator still leads and NATS still answers.
type parts struct {
	running []part
	failed  chan error // one error of a part that ended by itself; later ones are joined by stop
}

type part struct {
	name string
	stop func() error
}

func newParts() *parts { return &parts{failed: make(chan error, 1)} }

// start runs a part until stop. One that ends earlier, with or without an error, shows in failed.
func (p *parts) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := run(ctx)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("ended by itself")
			}
			err = fmt.Errorf("%s: %w", name, err)
			select {
			case p.failed <- err:
			default:
			}
		} else if errors.Is(err, context.Canceled) {
			err = nil // that is what it was told
		}
		ended <- err
	}()
	p.running = append(p.running, part{name: name, stop: func() error {
		cancel()
		return <-ended
	}})
}

// then runs f when all that was started after it has stopped.
func (p *parts) then(name string, f func()) {
	p.running = append(p.running, part{name: name, stop: func() error {
		f()
		return nil
	}})
}

// wait returns when ctx ends, with nil, or a part does, with its error.
func (p *parts) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.failed:
		return err
	}
}

// stop ends every part and returns their errors. It may be called again, and then has nothing more to say.
func (p *parts) stop() error { return p.stopTo(0) }

// stopButFirst ends every part but the one that was started first, as the database is that a last answer needs.
func (p *parts) stopButFirst() error { return p.stopTo(1) }

func (p *parts) stopTo(keep int) error {
	var all error
	for len(p.running) > keep {
		last := p.running[len(p.running)-1]
		p.running = p.running[:len(p.running)-1]
		all = errors.Join(all, last.stop())
	}
	return all
}

// healthEvery is how often a component is asked whether it works.
const healthEvery = 2 * time.Second

// watchHealth asks a component now and then whether it works, until ctx ends.
func watchHealth(component *observe.Part, check func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		tick := time.NewTicker(healthEvery)
		defer tick.Stop()
		for {
			try, cancel := context.WithTimeout(ctx, healthEvery)
			err := check(try)
			cancel()
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				component.Unhealthy(err.Error())
			default:
				component.Healthy()
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	}
}
