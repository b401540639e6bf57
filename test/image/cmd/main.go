// Command cmd builds the test image if it is not in the cache, and prints the
// path of its tar file, for docker load.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/mosdocker/mosdocker/test/image"
)

func main() {
	path, err := image.Tar(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}
