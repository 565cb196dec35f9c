package throttle

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryBuiltinSignalIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/signals.md")
	require.NoError(t, err)
	for _, b := range Builtins() {
		require.Equal(t, 1, strings.Count(string(doc), "\n| `"+b.Name+"` |"), b.Name)
	}
}
