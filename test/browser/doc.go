// Package browser tests the dashboard in a real browser, Debian's Chromium, against a real fleet. Screenshots of every page are left in
// the directory that BACKFLEET_SCREENSHOTS names, for people to look at; by default in test/browser/screenshots.
//
// It is a module of its own, so that the product's go.mod stays what its users import.
package browser
