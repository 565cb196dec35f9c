package job

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A spec that would unfold to gigabytes, or nests without end, is refused at once.
func TestABombIsRefused(t *testing.T) {
	aliases := "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 12; i++ {
		aliases += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9))
	}
	for name, text := range map[string]string{
		"aliases": aliases + "name: b\nset: *a11\n",
		"merge":   "x: &x {a: 1}\nname: b\n<<: *x\n",
		"nesting": "set: " + strings.Repeat("[", 50_000),
		"maps":    "set: " + strings.Repeat("{a: ", 20_000),
		"self":    "a: &a [*a]\nset: *a\n",
	} {
		began := time.Now()
		_, err := ParseSpec([]byte(text), "bomb.yaml")
		require.Error(t, err, name)
		require.Less(t, time.Since(began), 10*time.Second, name)
	}
}
