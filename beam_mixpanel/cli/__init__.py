"""`beam-mixpanel`: what people do by hand; the pipelines do the work, with the options that they have as modules."""
