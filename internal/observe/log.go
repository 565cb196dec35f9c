package observe

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// LogFormats and LogLevels are what [NewLogger] accepts.
var (
	LogFormats = []string{"console", "json"}
	LogLevels  = []string{"debug", "info", "warn", "error"}
)

// NewLogger returns a logger that writes lines of the format to w from the level up. Whatever looks like a password in a
// line is redacted on its way out. An unknown format or level is an error that names the valid ones.
func NewLogger(w io.Writer, format, level string) (*zap.Logger, error) {
	if !slices.Contains(LogLevels, level) {
		return nil, fmt.Errorf("log-level: %q is not a level; use %s", level, strings.Join(LogLevels, ", "))
	}
	from, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("log-level: %w", err)
	}
	keys := zapcore.EncoderConfig{
		TimeKey: "time", LevelKey: "level", MessageKey: "message", NameKey: Component,
		EncodeDuration: zapcore.StringDurationEncoder, EncodeName: zapcore.FullNameEncoder,
	}
	var enc zapcore.Encoder
	switch format {
	case "json":
		keys.EncodeTime = zapcore.RFC3339NanoTimeEncoder
		keys.EncodeLevel = zapcore.LowercaseLevelEncoder
		enc = zapcore.NewJSONEncoder(keys)
	case "console":
		keys.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		keys.EncodeLevel = zapcore.CapitalLevelEncoder
		keys.ConsoleSeparator = "  "
		enc = zapcore.NewConsoleEncoder(keys)
	default:
		return nil, fmt.Errorf("log-format: %q is not a format; use %s", format, strings.Join(LogFormats, " or "))
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(Redacting(w))), from)), nil
}
