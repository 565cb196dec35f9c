package main

import "context"

func recovery(ctx context.Context, b *bench) error { return nil }
