package queue

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
)

const helloShown = 5 * time.Second

// Announce tells the coordinators of this worker, on core NATS; call it every second. The workers bucket gets a copy every
// 5 s for people to look at.
func (c *Conn) Announce(h job.Hello) error {
	h.Version = job.ProtocolVersion
	data, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("announce worker %s: %w", h.Worker, err)
	}
	subject := c.names.worker(h.Worker)
	if err := c.nc.Publish(subject, data); err != nil {
		return explain("announce worker "+h.Worker, err)
	}
	if c.display.due(subject, helloShown) || h.Leaving {
		c.show(c.names.workersBucket(), token(h.Worker), data)
	}
	return nil
}

// SubscribeHellos calls f, one call at a time, for each worker's announcement until stop is called. Stop does not wait for a
// call that is under way.
func (c *Conn) SubscribeHellos(f func(job.Hello)) (stop func(), err error) {
	sub, err := c.nc.Subscribe(c.names.workers(), func(m *nats.Msg) {
		var h job.Hello
		err := json.Unmarshal(m.Data, &h)
		if err == nil && h.Version != job.ProtocolVersion {
			err = fmt.Errorf("version %d is not %d", h.Version, job.ProtocolVersion)
		}
		if err != nil {
			if c.display.due("unreadable."+m.Subject, logEvery) {
				c.log.Warn("passed over an unreadable announcement", zap.String("subject", m.Subject), zap.Error(err))
			}
			return
		}
		f(h)
	})
	if err != nil {
		return nil, explain("subscribe to the workers' announcements", err)
	}
	return func() { sub.Unsubscribe() }, nil //nolint:errcheck // the connection may be gone
}
