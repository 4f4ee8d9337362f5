"""System identification, as a domain of vhat: the worked example of docs/adding-a-domain.md."""
