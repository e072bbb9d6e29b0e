# The program, its manual page and the completion files of the shells.
include(GNUInstallDirs)

install(TARGETS dish RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES completions/dish.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES completions/dish.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME dish)
install(FILES completions/dish.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _dish)
install(FILES completions/dish.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

# `cmake --build build --target completions` writes the files anew after the tables changed.
add_custom_target(completions
    COMMAND dish --print=man > ${CMAKE_SOURCE_DIR}/completions/dish.1
    COMMAND dish --print=bash > ${CMAKE_SOURCE_DIR}/completions/dish.bash
    COMMAND dish --print=zsh > ${CMAKE_SOURCE_DIR}/completions/dish.zsh
    COMMAND dish --print=fish > ${CMAKE_SOURCE_DIR}/completions/dish.fish
    VERBATIM)
