package main
import "github.com/spf13/cobra"
func serveCommand() *cobra.Command { return &cobra.Command{Use:"serve"} }
func doctorCommand() *cobra.Command { return &cobra.Command{Use:"doctor"} }
func labCommand() *cobra.Command { return &cobra.Command{Use:"lab"} }
