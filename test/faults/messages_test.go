package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// stored is a range message as it stands in the stream.
type stored struct {
	seq     uint64
	subject string
	data    []byte
	fields  map[string]any
}

// The stream may hold anything: copies of messages, messages of other generations and releases, in any order, of ranges that are
// running or done, and nonsense. Only the ledger decides what is done.
func TestMisleadingMessages(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 200_000, perRange: perRange, rate: 10_000})
	f.begin(2)
	nc, err := nats.Connect(f.nats.URL())
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := js.Stream(ctx, "BACKFLEET")
	require.NoError(t, err)
	f.awaitSQL("all is planned", "SELECT planned_at IS NOT NULL FROM backfleet.jobs")
	f.awaitSQL("all is released", "SELECT NOT EXISTS (SELECT 1 FROM backfleet.ranges WHERE state = 'queued')")
	f.awaitShare(0.1)

	all := f.messages(ctx, stream)
	require.Greater(t, len(all), 5)
	sent := 0
	publish := func(subject string, data []byte) error {
		sent++
		_, err := js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: data, Header: nats.Header{jetstream.MsgIDHeader: {fmt.Sprintf("injected-%d", sent)}}})
		return err
	}
	change := func(m stored, pairs ...any) []byte {
		fields := maps.Clone(m.fields)
		for i := 0; i < len(pairs); i += 2 {
			fields[pairs[i].(string)] = pairs[i+1]
		}
		b, err := json.Marshal(fields)
		require.NoError(t, err)
		return b
	}

	next := func(index int) string { return fmt.Sprintf("backfleet.range.main.%s.%d", f.job, index) }

	// While a message of its range is there, no copy gets in.
	waiting := all[len(all)-1]
	require.Error(t, publish(waiting.subject, waiting.data))

	// Every waiting message is taken out and put back as a copy in reverse order; some as other generations, which the ledger does
	// not know, so that those ranges have no message any more; and the message of a running range a second time.
	g := f.awaitGrip("", perRange)
	running := stored{subject: fmt.Sprintf("backfleet.range.main.%s.%d", f.job, g.index)}
	waitingNow := f.messages(ctx, stream)
	for i := len(waitingNow) - 1; i >= 0; i-- {
		m := waitingNow[i]
		if stream.DeleteMsg(ctx, m.seq) != nil {
			continue // done meanwhile
		}
		data := m.data
		switch {
		case m.subject == running.subject:
			running = m
		case i%5 == 0:
			data = change(m, "gen", 99)
		case i%7 == 0:
			data = change(m, "gen", 0)
		}
		require.NoError(t, publish(m.subject, data))
	}
	require.NotEmpty(t, running.data, "the running range's message was there")
	lost := time.Now()

	// Copies of what is done, of a job that is not there, of a later release, and nonsense.
	var waits []int64
	for _, m := range waitingNow {
		waits = append(waits, int64(m.fields["range"].(float64)))
	}
	var index int64
	f.await("a range whose message was not replaced is done", func(context.Context) (bool, error) {
		err := f.pool.QueryRow(ctx, "SELECT index FROM backfleet.ranges WHERE state = 'done' AND index <> ALL ($1) LIMIT 1", waits).Scan(&index)
		return err == nil, err
	})
	done := all[0]
	done.subject, done.data = next(int(index)), change(done, "range", index)
	require.NoError(t, publish(done.subject, done.data))
	require.NoError(t, publish(next(900_001), change(done, "range", 900_001, "job", "01ARZ3NDEKTSV4RRFFQ69G5FAV")))
	require.NoError(t, publish(next(900_002), change(done, "range", 900_002, "v", 99)))
	require.NoError(t, publish(next(900_003), []byte("no message of ours \x00")))
	require.NoError(t, publish(next(900_004), done.data), "stored under another range's subject")

	f.unleash()
	f.awaitEnd()
	healed := time.Since(lost)
	f.prove(fmt.Sprintf("%d messages injected, all done %s after", sent, short(healed)))
}

// messages reads what waits in the stream, in order.
func (f *fleet) messages(ctx context.Context, stream jetstream.Stream) (all []stored) {
	f.t.Helper()
	info, err := stream.Info(ctx)
	require.NoError(f.t, err)
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := stream.GetMsg(ctx, seq)
		if err != nil {
			continue // taken out meanwhile
		}
		s := stored{seq: seq, subject: m.Subject, data: m.Data, fields: map[string]any{}}
		require.NoError(f.t, json.Unmarshal(m.Data, &s.fields))
		all = append(all, s)
	}
	return all
}
