// Package pgquery runs PostgreSQL's own parser, that of version 17, inside this process: libpg_query, compiled to WebAssembly.
//
// The program is embedded compressed, and nothing is unpacked before the first call. It is interpreted: a migration is parsed once, so what
// counts is the time to the first answer, 0.2 s instead of 1.5 s of compiling; and a service that may not make memory executable
// (MemoryDenyWriteExecute) can parse as well. But PostgreSQL reports an error by longjmp, which wazero 1.12 follows in compiled code only,
// so a source with an error is parsed a second time, compiled.
package pgquery

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

//go:generate ./fetch.sh

//go:embed libpg_query.wasm.gz
var compressed []byte

// maxMemory bounds what one parse may use, in bytes. The parser says "out of memory" there.
const maxMemory = 64 << 20

// Error is a place where the parser could not go on.
type Error struct {
	Message string
	Cursor  int // counts characters from 1; 0 where the parser names no place
}

// Error returns the parser's message.
func (e *Error) Error() string { return e.Message }

// program is the parser, ready to be started.
type program struct {
	runtime wazero.Runtime
	code    wazero.CompiledModule
	jumps   bool // longjmp works
}

var (
	interpreted = sync.OnceValues(func() (program, error) { return load(wazero.NewRuntimeConfigInterpreter(), false) })
	compiled    = sync.OnceValues(func() (program, error) { return load(wazero.NewRuntimeConfig(), true) })
)

func load(config wazero.RuntimeConfig, jumps bool) (p program, err error) {
	defer func() {
		if r := recover(); r != nil { // no memory may be made executable
			err = fmt.Errorf("load PostgreSQL's parser: %v", r)
		}
	}()
	unpacked, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return program{}, fmt.Errorf("unpack PostgreSQL's parser: %w", err)
	}
	code, err := io.ReadAll(unpacked)
	if err != nil {
		return program{}, fmt.Errorf("unpack PostgreSQL's parser: %w", err)
	}
	ctx := context.Background()
	features := api.CoreFeaturesV2 | experimental.CoreFeaturesThreads
	p.jumps = jumps
	p.runtime = wazero.NewRuntimeWithConfig(ctx, config.WithCoreFeatures(features))
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, p.runtime); err != nil {
		return program{}, fmt.Errorf("load PostgreSQL's parser: %w", err)
	}
	if err := wasix(ctx, p.runtime); err != nil {
		return program{}, fmt.Errorf("load PostgreSQL's parser: %w", err)
	}
	if p.code, err = p.runtime.CompileModule(ctx, code); err != nil {
		return program{}, fmt.Errorf("load PostgreSQL's parser: %w", err)
	}
	return p, nil
}

// ParseToJSON returns the parse tree of all statements of a source, or an [*Error]. The source must not hold a zero byte, where
// it would end. Each call has an instance of its own, so calls may run at once and leave nothing behind.
func ParseToJSON(ctx context.Context, source string) (string, error) {
	fast, err := interpreted()
	if err != nil {
		return "", err
	}
	if tree, err := fast.parse(ctx, source); err == nil {
		return tree, nil
	}
	sure, err := compiled()
	if err != nil {
		return "", err
	}
	return sure.parse(ctx, source)
}

func (p program) parse(ctx context.Context, source string) (tree string, err error) {
	ctx = withJumps(experimental.WithMemoryAllocator(ctx, allocator{}), p.jumps)
	module, err := p.runtime.InstantiateModule(ctx, p.code, wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize"))
	if err != nil {
		return "", fmt.Errorf("start PostgreSQL's parser: %w", err)
	}
	defer func() { _ = module.Close(ctx) }()
	return instance{module}.parse(ctx, source)
}

type instance struct{ api.Module }

// parse calls the C function pg_query_parse, which fills {char *tree, char *stderr, struct {char *message, *function, *file; int line,
// cursor; char *context} *error}. Nothing is freed: the instance ends with the call.
func (i instance) parse(ctx context.Context, source string) (string, error) {
	if _, err := i.call(ctx, "pg_query_init"); err != nil {
		return "", err
	}
	text, err := i.call(ctx, "malloc", uint64(len(source)+1))
	if err != nil {
		return "", err
	}
	result, err := i.call(ctx, "malloc", 12)
	if err != nil {
		return "", err
	}
	memory := i.Memory()
	if text == 0 || result == 0 || !memory.Write(text, append([]byte(source), 0)) {
		return "", errors.New("PostgreSQL's parser is out of memory; split the file")
	}
	if _, err := i.call(ctx, "pg_query_parse", uint64(result), uint64(text)); err != nil {
		return "", err
	}
	if failure := i.word(result + 8); failure != 0 {
		return "", &Error{Message: i.string(i.word(failure)), Cursor: int(i.word(failure + 16))}
	}
	return i.string(i.word(result)), nil
}

// call returns the function's result, 0 where it has none.
func (i instance) call(ctx context.Context, function string, args ...uint64) (uint32, error) {
	results, err := i.ExportedFunction(function).Call(ctx, args...)
	if err != nil {
		return 0, fmt.Errorf("PostgreSQL's parser failed in %s: %w", function, err)
	}
	if len(results) == 0 {
		return 0, nil
	}
	return uint32(results[0]), nil
}

func (i instance) word(at uint32) uint32 {
	w, _ := i.Memory().ReadUint32Le(at)
	return w
}

func (i instance) string(at uint32) string {
	rest, ok := i.Memory().Read(at, i.Memory().Size()-at)
	if !ok || at == 0 {
		return ""
	}
	if end := bytes.IndexByte(rest, 0); end >= 0 {
		rest = rest[:end]
	}
	return string(rest)
}

// allocator gives an instance memory that never moves and never grows beyond maxMemory. The program asks for 4 GiB at once.
type allocator struct{}

func (allocator) Allocate(_, most uint64) experimental.LinearMemory {
	return &memory{make([]byte, min(most, maxMemory))}
}

type memory struct{ all []byte }

func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.all)) {
		return nil
	}
	return m.all[:size]
}

func (m *memory) Free() { m.all = nil }
