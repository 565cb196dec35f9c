// Package ddl judges and applies the schema changes around a backfill: the additive ones before it (expand), and the drops after it
// (contract), so that none of them makes the application wait.
//
//	Parse    splits a file into statements with the parser of PostgreSQL itself (its version 17, compiled to WebAssembly)
//	Read     asks a server what a judgement needs to know of the tables that they name
//	Check    judges each statement: its locks, its work while it holds them, and the safe way; pure
//	Generate writes the additive statements for wanted columns or a wanted table; pure
//	Apply    runs statements under a short lock_timeout, again and again, and tells who is in the way
//	Done     tells whether a statement's effect is there already, so that Apply can be repeated after any crash
//
// What Check says of locks and work is held against real servers by a test; docs/ddl.md is written from the same cases.
package ddl
