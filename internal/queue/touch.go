package queue

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

const (
	// touchPatience is over most elections of a leader, which take 4 to 9 s: after one of those the server is as good as any.
	touchPatience = 7 * time.Second
	touchMost     = 2 * time.Minute
)

// touch notices that the server of this connection has lost its cluster. Such a server keeps its clients, and they hear nobody and
// nobody hears them. A write to a replicated bucket tells it apart, for only the majority of the cluster can answer it; what is
// written there for people to read is enough of that.
type touch struct {
	lost func() // called when nothing was answered for as long as wait

	mu    sync.Mutex
	wait  time.Duration // longer each time in a row, for another server may do no better
	timer *time.Timer   // runs while a write is unanswered
}

func newTouch(lost func()) *touch { return &touch{lost: lost, wait: touchPatience} }

// asked is called for each write, answered for each that the majority has.
func (t *touch) asked() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer == nil {
		t.timer = time.AfterFunc(t.wait, t.expire)
	}
}

func (t *touch) answered() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wait = touchPatience
	t.stop()
}

// forget is called when the connection changes: what was written before says nothing of the next server.
func (t *touch) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop()
}

func (t *touch) stop() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}

func (t *touch) expire() {
	t.mu.Lock()
	t.timer = nil
	t.wait = min(2*t.wait, touchMost)
	t.mu.Unlock()
	t.lost()
}

// show writes a value for display. It does not wait for the bucket's answer, which is only held against the server; see [touch].
func (c *Conn) show(bucket, key string, data []byte) {
	subject := bucketSubject(bucket, key)
	if err := c.nc.PublishRequest(subject, c.proof, data); err != nil {
		c.log.Debug("could not show a value", zap.String("subject", subject), zap.Error(err))
		return
	}
	c.touch.asked()
}

// shown reads the bucket's answer. A refusal is none: the server may give it by itself.
func (c *Conn) shown(m *nats.Msg) {
	var answer struct {
		Stream string          `json:"stream"`
		Error  json.RawMessage `json:"error"`
	}
	if json.Unmarshal(m.Data, &answer) == nil && answer.Stream != "" && answer.Error == nil {
		c.touch.answered()
	}
}

// moveOn leaves this server for another of its cluster.
func (c *Conn) moveOn() {
	if len(c.nc.Servers()) < 2 || !c.nc.IsConnected() {
		return
	}
	c.log.Warn("this NATS server does not reach the majority of its cluster; going to another",
		zap.String("server", c.nc.ConnectedServerName()))
	if err := c.nc.ForceReconnect(); err != nil {
		c.log.Debug("could not leave the server", zap.Error(err))
	}
}
