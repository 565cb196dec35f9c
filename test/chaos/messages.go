package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// injected marks the messages that are not the fleet's own.
const injected = "chaos-"

// mislead puts the stream out of order: of the messages that wait, some are lost, some replaced by copies, some by others of a generation
// that is over or never was, some by nonsense. Only the ledger decides what is done.
func mislead(ctx context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	nc, js, err := c.jetstream()
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	stream, err := js.Stream(ctx, streamName)
	if err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(e.Dice, 0))
	state := stream.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && seq > 0; seq++ {
		m, err := stream.GetMsg(ctx, seq)
		if err != nil || random.IntN(2) == 0 {
			continue // done meanwhile, or left alone
		}
		if stream.DeleteMsg(ctx, seq) != nil {
			continue
		}
		data := m.Data
		switch random.IntN(5) {
		case 0:
			continue
		case 1:
			data = aged(data, random.IntN(3))
		case 2:
			data = []byte("no message of ours \x00")
		}
		_, err = js.PublishMsg(ctx, &nats.Msg{Subject: m.Subject, Data: data, Header: nats.Header{
			jetstream.MsgIDHeader: {fmt.Sprintf("%s%d-%d", injected, e.Dice, seq)}}})
		if err != nil && ctx.Err() != nil {
			return nil, err
		}
	}
	return nil, nil
}

func aged(data []byte, generation int) []byte {
	var fields map[string]any
	if json.Unmarshal(data, &fields) != nil {
		return data
	}
	fields["gen"] = generation
	b, err := json.Marshal(fields)
	if err != nil {
		return data
	}
	return b
}
