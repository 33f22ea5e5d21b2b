// Package page is what a browser shows of the service: one HTML page, its style, its ES modules and uPlot (assets/uplot.*, version 1.6.32, MIT:
// assets/uplot.LICENSE), all embedded. The modules ask the API for everything they show; nothing is built at run time, nothing is loaded from
// elsewhere, and no name that came from outside is ever taken for markup: the policy that comes with the page forbids it.
package page
