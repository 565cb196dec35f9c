package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/backfleet/backfleet/internal/job"
)

// message is all that the stream holds of a range: identifiers, never a key, a credential or a statement.
type message struct {
	Version int `json:"v"`
	job.Ref
}

// blocksVersion is that of a message whose range spans row addresses. Releases of before these leave it to newer workers.
const blocksVersion = job.ProtocolVersion + 1

func encode(r job.Ref) ([]byte, error) {
	return json.Marshal(message{Version: versionOf(r), Ref: r})
}

func versionOf(r job.Ref) int {
	if r.Blocks {
		return blocksVersion
	}
	return job.ProtocolVersion
}

// decode reads a message that was stored under subject. ErrVersion marks one that a newer release can read; every other
// error means that no release can.
func decode(n names, subject string, data []byte) (job.Ref, error) {
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		return job.Ref{}, fmt.Errorf("not a range message: %w", err)
	}
	switch {
	case m.Version > blocksVersion:
		return job.Ref{}, fmt.Errorf("%w: version %d over %d; upgrade this worker", ErrVersion, m.Version, blocksVersion)
	case m.Version != versionOf(m.Ref):
		return job.Ref{}, fmt.Errorf("message version %d is not %d", m.Version, versionOf(m.Ref))
	case m.Job == "":
		return job.Ref{}, errors.New("the message names no job")
	case m.Index < 0 || m.Generation < 0:
		return job.Ref{}, fmt.Errorf("range %d generation %d is negative", m.Index, m.Generation)
	case n.rangeOf(m.Ref) != subject:
		return job.Ref{}, fmt.Errorf("the message names %s but was stored as %s", n.rangeOf(m.Ref), subject)
	}
	return m.Ref, nil
}

func indexOf(subject string) (int, error) {
	return strconv.Atoi(subject[strings.LastIndexByte(subject, '.')+1:])
}
