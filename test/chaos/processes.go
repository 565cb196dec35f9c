package main

import (
	"context"
	"errors"
	"time"

	"github.com/backfleet/backfleet/test/harness"
)

// seat finds the process that an event hits at a place, or whose link.
func (c *chaos) seat(p Place) *seat {
	switch p.Target {
	case coordinator.Name, coordinatorDB.Name, coordinatorNATS.Name:
		return c.coordinators[p.Number]
	default:
		return c.workers[p.Number]
	}
}

func (c *chaos) links(p Place) links {
	switch p.Target {
	case workerDB.Name, coordinatorDB.Name:
		return c.seat(p).db
	default:
		return c.seat(p).nats
	}
}

func killed(_ context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	s := c.seat(e.Places[0])
	s.kill()
	return mender(s.start), nil
}

func terminated(_ context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	s := c.seat(e.Places[0])
	s.terminate()
	return mender(s.start), nil
}

func frozen(_ context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	return mender(c.seat(e.Places[0]).freeze()), nil
}

// scaled starts further workers and a further coordinator, and takes them away again.
func scaled(down func(*seat)) func(context.Context, *chaos, Event) (func(context.Context) error, error) {
	return func(_ context.Context, c *chaos, _ Event) (func(context.Context) error, error) {
		for _, s := range c.extras {
			s.start()
		}
		return func(context.Context) error {
			for _, s := range c.extras {
				down(s)
			}
			return nil
		}, nil
	}
}

// links are those of one process to all servers of a kind. They break together.
type links []*harness.Link

// open makes a link to each of these ports.
func (f *fleet) open(ports []int) (all links, err error) {
	for _, port := range ports {
		l, err := f.env.StartLink(harness.Local(port))
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

func (l links) addresses() (all []string) {
	for _, one := range l {
		all = append(all, one.Address())
	}
	return all
}

// broken breaks each link and returns what mends them.
func (l links) broken(how func(*harness.Link)) (func(context.Context) error, error) {
	for _, one := range l {
		how(one)
	}
	return func(context.Context) (err error) {
		for _, one := range l {
			err = errors.Join(err, one.Mend())
		}
		return err
	}, nil
}

// breaks is a fault that breaks the links of all places that it hits.
func breaks(how func(*harness.Link, Event)) func(context.Context, *chaos, Event) (func(context.Context) error, error) {
	return func(_ context.Context, c *chaos, e Event) (func(context.Context) error, error) {
		var all links
		for _, p := range e.Places {
			all = append(all, c.links(p)...)
		}
		return all.broken(func(l *harness.Link) { how(l, e) })
	}
}

var (
	cut      = breaks(func(l *harness.Link, _ Event) { l.Cut() })
	silent   = breaks(func(l *harness.Link, _ Event) { l.Silence() })
	halfOpen = breaks(func(l *harness.Link, e Event) { l.Silence(harness.Way(e.Dice % 2)) })
	slow     = breaks(func(l *harness.Link, e Event) { l.Slow(time.Duration(20+e.Dice%200)*time.Millisecond, 1<<20) })
)
