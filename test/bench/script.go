package main

import "context"

func script(ctx context.Context, b *bench) error { return nil }
