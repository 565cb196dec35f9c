package main

import (
	"context"
	"errors"
	"fmt"
)

func paused(ctx context.Context, c *chaos, _ Event) (func(context.Context) error, error) {
	_, err := c.cli(ctx, "pause", c.work.now())
	return c.resume, err
}

// resume lets the job go on where it is paused.
func (c *chaos) resume(ctx context.Context) error {
	var name string
	err := c.pool.QueryRow(ctx, "SELECT coalesce(max(name), '') FROM backfleet.jobs WHERE state = 'paused'").Scan(&name)
	if err != nil || name == "" {
		return err
	}
	_, err = c.cli(ctx, "resume", name)
	return err
}

func held(ctx context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	_, err := c.pool.Exec(ctx, fmt.Sprintf("SELECT backfleet.hold('%d ms', 'chaos')", (e.For+patience).Milliseconds()))
	return c.release, err
}

func (c *chaos) release(ctx context.Context) error {
	_, err := c.pool.Exec(ctx, "SELECT backfleet.release()")
	return err
}

// sayAgain repeats a person's last word, which a failover may have taken back: all shall go on.
func (c *chaos) sayAgain(ctx context.Context) error {
	return errors.Join(c.release(ctx), c.resume(ctx))
}
