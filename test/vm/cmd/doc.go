// Command cmd keeps the warm VM of the tests and works in it. Run it without
// arguments for what it can do; test/vm/README.md tells more.
package main
