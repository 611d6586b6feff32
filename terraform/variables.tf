variable "app_name" {
  description = "Name of the application in the model."
  type        = string
  default     = "microcluster-token-distributor"
  nullable    = false
}

variable "base" {
  description = "Base of the machines: ubuntu@24.04 or ubuntu@26.04."
  type        = string
  default     = "ubuntu@24.04"
  nullable    = false
}

variable "channel" {
  description = "Channel of the charm on Charmhub."
  type        = string
  default     = "latest/edge"
  nullable    = false
}

variable "config" {
  description = "Options of the charm, by name: log-level, bootstrap-app."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for option in keys(var.config) : contains(["bootstrap-app", "log-level"], option)])
    error_message = "The charm's options are bootstrap-app and log-level."
  }
}

variable "constraints" {
  description = "Constraints of the application's machines, such as \"arch=arm64\". Null: those of the model."
  type        = string
  default     = null
}

variable "endpoint_bindings" {
  description = "Spaces to bind to: objects with a space, and an endpoint unless it is the default of all."
  type = set(object({
    endpoint = optional(string)
    space    = string
  }))
  default = null
}

variable "machines" {
  description = "Machines to deploy to, one unit on each. Null: units decides how many new ones."
  type        = set(string)
  default     = null

  validation {
    condition     = var.machines == null ? true : length(var.machines) > 0
    error_message = "Name at least one machine, or leave machines out."
  }
}

variable "model_uuid" {
  description = "UUID of the model to deploy into."
  type        = string
  nullable    = false
}

variable "revision" {
  description = "Revision of the charm. Null: the newest in the channel for base and architecture."
  type        = number
  default     = null
}

variable "units" {
  description = "Number of units. One leads, the others are standbys. Not used when machines are given."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.units >= 0
    error_message = "The number of units cannot be negative."
  }
}
