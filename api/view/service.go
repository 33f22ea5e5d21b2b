package view

// Service is what a client must know of a service before it asks for runs.
type Service struct {
	Version       string   `json:"version"`
	Modules       []string `json:"modules" doc:"of the configuration, by name"`
	DefaultModule string   `json:"default_module" doc:"of a run that names none"`
	Authenticated bool     `json:"authenticated" doc:"whether this caller has proved who it is, and may ask for what can hurt"`
}
