package flag

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// vector is one line of the test vectors by which an implementation in another language is checked.
type vector struct {
	Name   string `json:"name"`
	Key    string `json:"key"`
	Bucket int    `json:"bucket"`
}

func vectors(t *testing.T) (all []vector) {
	t.Helper()
	raw, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &all))
	require.NotEmpty(t, all)
	return all
}

func TestBucketsNeverChange(t *testing.T) {
	for _, v := range vectors(t) {
		require.Equal(t, v.Bucket, Bucket(v.Name, v.Key), "%q %q", v.Name, v.Key)
	}
}

// A key that reads the new schema goes on to do so while the percentage grows, and at the ends all keys agree.
func TestTheRampIsMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name, key := rapid.String().Draw(t, "name"), rapid.String().Draw(t, "key")
		was := false
		for _, percent := range Percents {
			on := Flag{Name: name, Percent: percent}.On(key)
			if was && !on {
				t.Fatalf("at %d %% the key left again", percent)
			}
			if percent == 0 && on || percent == 100 && !on {
				t.Fatalf("at %d %% it is %v", percent, on)
			}
			was = on
		}
	})
}

// Keys that count up, which are the worst, spread as chance would: each percentage holds within five standard deviations.
func TestTheRampIsEven(t *testing.T) {
	const keys = 200_000
	for _, name := range []string{"users-email-norm", "a", "orders-total"} {
		for _, percent := range Percents {
			f, n := Flag{Name: name, Percent: percent}, 0
			for i := range keys {
				if f.On(strconv.Itoa(i)) {
					n++
				}
			}
			p := float64(percent) / 100
			require.InDelta(t, p*keys, n, 5*math.Sqrt(keys*p*(1-p)), "%s at %d %%", name, percent)
		}
	}
}

// Who is first in one ramp is not first in all of them.
func TestFlagsAreIndependent(t *testing.T) {
	a, b, both := Flag{Name: "a", Percent: 10}, Flag{Name: "b", Percent: 10}, 0
	const keys = 200_000
	for i := range keys {
		if key := strconv.Itoa(i); a.On(key) && b.On(key) {
			both++
		}
	}
	require.InDelta(t, 0.01*keys, both, 5*math.Sqrt(0.01*keys))
}

func TestAStepThatIsNotOfTheRampIsRefused(t *testing.T) {
	require.NoError(t, Check(10))
	require.EqualError(t, Check(50), `percent: "50" is no step of the ramp; give one of 0, 1, 10, 100`)
}
