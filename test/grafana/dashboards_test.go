package grafana

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/gauge"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/stretchr/testify/require"
)

// Each dashboard decodes strictly against Grafana's own schema, its panels' options and queries too: a field that the schema does not
// know, and a required one that is missing, are complaints. No panel lies over another.
func TestDashboardsAreWhatGrafanasSchemaTakes(t *testing.T) {
	known := cog.NewRuntime()
	for _, panel := range []variants.PanelcfgConfig{
		gauge.VariantConfig(), stat.VariantConfig(), statetimeline.VariantConfig(), table.VariantConfig(), timeseries.VariantConfig(),
	} {
		known.RegisterPanelcfgVariant(panel)
	}
	known.RegisterDataqueryVariant(prometheus.VariantConfig())

	files, err := filepath.Glob("../../deploy/grafana/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Empty(t, complaints(new(dashboard.Dashboard).UnmarshalJSONStrict(raw)))
			var d dashboard.Dashboard // the strict decoder keeps no panels
			require.NoError(t, json.Unmarshal(raw, &d))
			require.NoError(t, d.Validate())
			apart(t, d)

			// What the schema does not know is found, at each depth.
			for _, name := range []string{`"gridPos"`, `"legendFormat"`, `"reduceOptions"`, `"refresh"`} {
				wrong := bytes.ReplaceAll(raw, []byte(name), []byte(`"grid_pos"`))
				require.NotEmpty(t, complaints(new(dashboard.Dashboard).UnmarshalJSONStrict(wrong)), name)
			}
		})
	}
}

// complaints is the text of an error; the schema returns one without text where it has none.
func complaints(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// apart requires panels of distinct ids, each in a place of its own.
func apart(t *testing.T, d dashboard.Dashboard) {
	t.Helper()
	ids, cells := map[uint32]string{}, map[[2]uint32]string{}
	for _, p := range d.Panels {
		if p.RowPanel != nil {
			continue
		}
		panel := p.Panel
		require.NotEmpty(t, *panel.Title)
		require.NotEmpty(t, *panel.Description, *panel.Title)
		require.NotEmpty(t, panel.Targets, *panel.Title)
		require.Empty(t, ids[*panel.Id], *panel.Title)
		ids[*panel.Id] = *panel.Title
		at := panel.GridPos
		require.LessOrEqual(t, at.X+at.W, uint32(24), *panel.Title)
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				require.Empty(t, cells[[2]uint32{x, y}], *panel.Title)
				cells[[2]uint32{x, y}] = *panel.Title
			}
		}
	}
	require.NotEmpty(t, ids)
}
