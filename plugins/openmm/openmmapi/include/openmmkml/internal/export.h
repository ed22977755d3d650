#ifndef OPENMMKML_EXPORT_H_
#define OPENMMKML_EXPORT_H_

/** The library hides every symbol but those marked here. */
#define KML_EXPORT __attribute__((visibility("default")))

#endif
