package api

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestATokenLearnsWhatItMayDo(t *testing.T) {
	b := setup(t)
	for token, want := range map[string]string{"view-token": "viewer", "op-token": "operator", "root-token": "admin"} {
		code, _, body := b.do(t, http.MethodGet, "/v1/me", token, "")
		require.Equal(t, http.StatusOK, code, body)
		require.Contains(t, body, `"role":"`+want+`"`)
	}
	require.True(t, Me{Role: "operator"}.May(Operator))
	require.False(t, Me{Role: "viewer"}.May(Operator))
	require.False(t, Me{}.May(Viewer), "nobody is told yet")
}
