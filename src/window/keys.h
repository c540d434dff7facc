/* Keys of a window: what they are called by Linux's input devices, and what they mean to a terminal. */
#ifndef WINDOW_KEYS_H
#define WINDOW_KEYS_H

#include <SDL.h>
#include <stdbool.h>
#include <stdint.h>

/* KEY_... of a key by its place on the keyboard; 0: none. */
uint16_t key_of_scancode(SDL_Scancode scancode);
/* CONSOLE_... of a key that is no letter. */
bool key_of_console(SDL_Keycode key, unsigned *ret_key);

#endif
