package pgquery

import (
	"context"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

const i32, i64 = api.ValueTypeI32, api.ValueTypeI64

// wasix gives the program what its C library asks of the system. PostgreSQL reports an error by longjmp, so setjmp and longjmp are
// real; threads and signals are never used here, and calling them ends the parse.
func wasix(ctx context.Context, r wazero.Runtime) error {
	b := r.NewHostModuleBuilder("wasix_32v1")
	export := func(name string, f api.GoModuleFunc, params []api.ValueType, results ...api.ValueType) {
		b.NewFunctionBuilder().WithGoModuleFunction(f, params, results).Export(name)
	}
	export("stack_checkpoint", checkpoint, []api.ValueType{i32, i32}, i32)
	export("stack_restore", restore, []api.ValueType{i32, i64})
	export("proc_id", func(_ context.Context, m api.Module, stack []uint64) {
		m.Memory().WriteUint32Le(uint32(stack[0]), 1)
		stack[0] = 0
	}, []api.ValueType{i32}, i32)
	export("callback_signal", unused, []api.ValueType{i32, i32})
	export("thread_exit", unused, []api.ValueType{i32})
	export("thread_signal", unused, []api.ValueType{i32, i32}, i32)
	export("futex_wait", unused, []api.ValueType{i32, i32, i32, i32}, i32)
	export("futex_wake", unused, []api.ValueType{i32, i32}, i32)
	export("futex_wake_all", unused, []api.ValueType{i32, i32}, i32)
	_, err := b.Instantiate(ctx)
	return err
}

func unused(context.Context, api.Module, []uint64) { panic("it asked for threads or signals") }

// jump is what setjmp keeps: the interpreter's place, and the part of the C stack above it.
type jump struct {
	snapshot experimental.Snapshot
	result   uint32 // where setjmp's answer stands
	pointer  uint32
	stack    []byte
}

type jumpsKey struct{}

// withJumps prepares a context for one instance, in which the program's setjmps are kept. Where they are not followed, a longjmp ends the parse.
func withJumps(ctx context.Context, follow bool) context.Context {
	if !follow {
		return ctx
	}
	return context.WithValue(experimental.WithSnapshotter(ctx), jumpsKey{}, new([]jump))
}

func checkpoint(ctx context.Context, m api.Module, stack []uint64) {
	buffer, result := uint32(stack[0]), uint32(stack[1])
	m.Memory().WriteUint64Le(result, 0)
	stack[0] = 0
	jumps, ok := ctx.Value(jumpsKey{}).(*[]jump)
	if !ok {
		return
	}
	pointer := uint32(m.ExportedGlobal("__stack_pointer").Get())
	top := uint32(m.ExportedGlobal("__heap_base").Get())
	view, ok := m.Memory().Read(pointer, top-pointer)
	if !ok {
		panic("its stack is not in its memory")
	}
	j := jump{snapshot: experimental.GetSnapshotter(ctx).Snapshot(), result: result, pointer: pointer, stack: append([]byte(nil), view...)}
	m.Memory().WriteUint64Le(buffer, uint64(len(*jumps)))
	*jumps = append(*jumps, j)
}

func restore(ctx context.Context, m api.Module, stack []uint64) {
	at, _ := m.Memory().ReadUint64Le(uint32(stack[0]))
	jumps, ok := ctx.Value(jumpsKey{}).(*[]jump)
	if !ok || at >= uint64(len(*jumps)) {
		panic("it reported an error")
	}
	j := (*jumps)[at]
	m.ExportedGlobal("__stack_pointer").(api.MutableGlobal).Set(uint64(j.pointer))
	m.Memory().Write(j.pointer, j.stack)
	m.Memory().WriteUint64Le(j.result, stack[1])
	stack[0] = 0
	j.snapshot.Restore(stack[:1])
}
